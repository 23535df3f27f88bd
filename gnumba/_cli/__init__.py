"""Command line: the demo and the bench."""
