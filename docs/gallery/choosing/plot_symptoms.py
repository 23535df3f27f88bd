"""
When the loss is flat, swings, or is nan
========================================

Four ways to go wrong, and beside each what cures it. Only one thing differs within a panel.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

data = lab.digits()
unscaled = lab.Data(data.x * 1e3, data.labels, data.test_x * 1e3, data.test_labels)
SIZES = (64,) + (64,) * 12 + (10,)


def run(make, data=data, **network):
    return lab.train(make, data, epochs=12, network=lab.Network(**network) if network else None).batches


PANELS = {
    "flat: the rate is too small": {
        "lr = 1e-4": run(lambda p: gn.SGD(p, lr=1e-4)),
        "lr = 0.1": run(lambda p: gn.SGD(p, lr=0.1)),
    },
    "flat: first weights too small": {
        "12 layers, std 0.01": run(
            lambda p: gn.Adam(p, lr=1e-3),
            sizes=SIZES,
            weights=lambda s, rng: gn.init.normal(s, 0.01, rng=rng),
        ),
        "12 layers, He": run(lambda p: gn.Adam(p, lr=1e-3), sizes=SIZES, weights=gn.init.he_normal),
    },
    "swings: the rate is too large": {
        "lr = 0.1": run(lambda p: gn.Adam(p, lr=0.1)),
        "lr = 0.003": run(lambda p: gn.Adam(p, lr=0.003)),
    },
    "nan: inputs of size 1000": {
        "as they are": run(lambda p: gn.SGD(p, lr=0.1), unscaled, activation=gn.leaky_relu),
        "max_norm = 1": run(lambda p: gn.SGD(p, lr=0.1, max_norm=1.0), unscaled, activation=gn.leaky_relu),
        "standardised": run(lambda p: gn.SGD(p, lr=0.1), activation=gn.leaky_relu),
    },
}

figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.0))
for ax, (title, runs) in zip(axes.flat, PANELS.items(), strict=True):
    for name, losses in runs.items():
        label = name + (": nan" if np.isnan(losses[-1]) else "")
        ax.semilogy(np.clip(losses, 1e-4, 1e18), linewidth=1.2, label=label)
    ax.set(title=title, ylabel="loss of a batch", xlabel="step")
    ax.legend()

# %%
# The last panel: where the inputs are a thousand times too large, each of SGD's steps throws the
# weights further away, until the loss is inf, then nan. Clipping bounds the step; standardising cures
# the cause.
