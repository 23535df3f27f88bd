"""One optimizer over several processes: who speaks to whom, which rank keeps what, and the step."""
