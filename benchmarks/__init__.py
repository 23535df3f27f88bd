"""How fast gnumba is, commit by commit: ``asv run``; see CONTRIBUTING.md."""
