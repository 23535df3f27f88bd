"""Optimizers: parameters, state, steps, clipping, phases."""
