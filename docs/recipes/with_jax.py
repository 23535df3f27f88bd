"""Gradients from JAX."""

# ---
import jax
import numpy as np

import gnumba as gn

rng = np.random.default_rng(0)
x, y = rng.standard_normal((128, 4)).astype(np.float32), rng.standard_normal((128, 1)).astype(np.float32)
params = {"w": np.zeros((4, 1), np.float32)}


@jax.jit
def loss_and_gradients(params, x, y):
    return jax.value_and_grad(lambda p: ((x @ p["w"] - y) ** 2).mean())(params)


opt = gn.Adam(params, lr=1e-2)
losses = []
for _ in range(100):
    loss, grads = loss_and_gradients(params, x, y)
    opt.step(grads)
    losses.append(float(loss))
