"""Activations, dropout and their PyTorch functions."""
