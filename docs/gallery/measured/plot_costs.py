"""
Costs of the activations
========================

Nanoseconds an element, forward and backward, on one core, for an array that stays in the cache.
Measured once, by ``python tools/figures.py costs``.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

data = lab.measured("costs")
names = sorted(data["nanoseconds"], key=lambda name: data["nanoseconds"][name][0])
forward, backward = np.transpose([data["nanoseconds"][name] for name in names])
rows = np.arange(len(names))

figure, ax = plt.subplots(figsize=(6.4, 7.5))
ax.barh(rows - 0.2, forward, 0.4, label="f(x)")
ax.barh(rows + 0.2, backward, 0.4, label="backward")
ax.axvline(data["copy"], color="gray", linestyle=":", label="copying an array")
ax.set(yticks=rows, yticklabels=names, xlabel="ns an element")
ax.invert_yaxis()
ax.legend()

print(data["day"], data["processor"], data["versions"], sep="\n")

# %%
# Those that select and clip cost about a quarter more than a copy, their backward about twice one.
# An exponential costs a few times that, and softplus and log_sigmoid take a logarithm besides.
