"""PyTorch's activations by gnumba's names."""

# How many roundings of float64 its own derivatives are off, by constants in float32 and products rounded.
INEXACT = {"celu": 1e8, "gelu_tanh": 100.0, "hard_sigmoid": 1e8, "sine": 1e4}


def torch_activation(name):
    """PyTorch's function of that name, or under its own, with gnumba's hyperparameters."""
    import torch

    functional = torch.nn.functional
    others = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "prelu": lambda x, alpha: functional.prelu(x, torch.tensor([alpha], dtype=x.dtype)),
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "hard_sigmoid": functional.hardsigmoid,
        "hard_swish": functional.hardswish,
        "hard_tanh": lambda x, low=-1.0, high=1.0: functional.hardtanh(x, low, high),
        "log_sigmoid": functional.logsigmoid,
        "softplus": lambda x, beta=1.0: functional.softplus(x, beta, threshold=1e4),
        "soft_shrink": lambda x, threshold=0.5: functional.softshrink(x, threshold),
        "hard_shrink": lambda x, threshold=0.5: functional.hardshrink(x, threshold),
        "tanh_shrink": functional.tanhshrink,
        "sine": lambda x, omega=30.0: torch.sin(omega * x),
    }
    return others.get(name) or getattr(functional, name)
