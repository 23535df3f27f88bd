"""Checkpoints and mini-batches."""
