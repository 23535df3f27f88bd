"""Gradients from autograd (HIPS), which traces NumPy."""

# ---
import numpy as np
from autograd import grad

import gnumba as gn

rng = np.random.default_rng(0)
x, y = rng.standard_normal((128, 4)), rng.standard_normal((128, 1))
params = {"w": np.zeros((4, 1))}


def loss(params):
    return ((x @ params["w"] - y) ** 2).mean()


gradients = grad(loss)
opt = gn.Adam(params, lr=1e-2)
losses = []
for _ in range(100):
    losses.append(loss(params))
    opt.step(gradients(params))
