"""CUDA devices: loaded when the first array on one is seen."""
