"""
Momentum in a ravine
====================

SGD's rate is bound by the steepest direction: above 2 over its curvature it diverges, and the flat
direction then takes that many more steps. Momentum averages the swings away.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

CURVATURES = np.array([1.0, 50.0])
RUNS = {
    "β = 0 (SGD), η = 0.038": lambda p: gn.SGD(p, lr=0.038),
    "β = 0 (SGD), η = 0.041: diverges": lambda p: gn.SGD(p, lr=0.041),
    "β = 0.9, η = 0.3": lambda p: gn.Momentum(p, lr=0.3, momentum=0.9),
    "β = 0.99, η = 0.3": lambda p: gn.Momentum(p, lr=0.3, momentum=0.99),
}

figure, ax = plt.subplots()
for name, make in RUNS.items():
    p, losses = np.array([-4.0, 1.0]), []
    opt = make(p)
    for _ in range(150):
        losses.append(0.5 * np.sum(CURVATURES * p**2))
        opt.step(CURVATURES * p)
    ax.semilogy(losses, label=name)
ax.set(xlabel="step", ylabel="loss", ylim=(1e-8, 1e4))
ax.legend()

# %%
# Too little momentum and the flat direction crawls; too much and it overshoots and comes back, over and
# over. 0.9 is the value to begin with; 0.99 wants a schedule, or more steps than these.
