"""
First weights and what they keep
================================

The spread of a layer's outputs, layer by layer, as a network of forty layers is born. Where it falls
towards 0 or grows without end, nothing is learned. ``gn.init.for_activation`` gives the fitting one.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

DEPTH, WIDTH = 40, 128
PAIRS = {
    "ReLU, He": (gn.relu, gn.init.he_normal),
    "ReLU, Xavier": (gn.relu, gn.init.xavier_normal),
    "tanh, Xavier": (gn.tanh, gn.init.xavier_normal),
    "tanh, std 0.01": (gn.tanh, lambda shape, rng: gn.init.normal(shape, 0.01, rng=rng)),
    "tanh, orthogonal": (gn.tanh, gn.init.orthogonal),
    "SELU, LeCun": (gn.selu, gn.init.lecun_normal),
    "ReLU, std 0.2": (gn.relu, lambda shape, rng: gn.init.normal(shape, 0.2, rng=rng)),
}

x = lab.digits().x
figure, ax = plt.subplots(figsize=(6.4, 4.6))
for name, (activation, weights) in PAIRS.items():
    rng, h, spreads = np.random.default_rng(0), x, []
    for _ in range(DEPTH):
        h = activation(h @ weights((h.shape[1], WIDTH), rng=rng))
        spreads.append(np.sqrt(np.mean(h.astype(np.float64) ** 2)))
    ax.semilogy(range(1, DEPTH + 1), np.clip(spreads, 1e-8, 1e8), label=name)
    print(f"{name:18} size after {DEPTH} layers {spreads[-1]:.2g}")
ax.set(xlabel="layer", ylabel="size of its outputs (root mean square)", ylim=(1e-8, 1e9))
ax.legend(ncols=2)
