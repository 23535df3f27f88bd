"""
SELU through 64 layers
======================

With LeCun's weights and standardised inputs, SELU keeps mean 0 and variance 1 through 64 layers, with
alpha dropout too. ReLU does not. The network is ``examples/deep_selu.py``.
"""

import deep_selu
import matplotlib.pyplot as plt
import numpy as np

x, labels, test_x, test_labels = deep_selu.load_data()

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6.0), sharex=True)
for name, kind in deep_selu.KINDS.items():
    mean, variance = deep_selu.statistics(kind, x)
    layers = range(1, len(mean) + 1)
    top.plot(layers, np.clip(mean.mean(axis=1), -1, 5), label=name)
    bottom.semilogy(layers, np.maximum(variance.mean(axis=1), 1e-8), label=name)
top.set(ylabel="mean of the units", ylim=(-0.5, 5))
bottom.set(xlabel="layer", ylabel="variance over the images", ylim=(1e-8, 1e6))
top.legend()

# %%
# The variance of ReLU with He's weights falls since images become alike: its units all grow together,
# the differences that tell images apart do not. ``python examples/deep_selu.py`` trains them all; SELU
# learns from the first epoch.
