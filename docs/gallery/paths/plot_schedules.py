"""
Schedules in one picture
========================

Every schedule is a function of the number of steps taken, and any hyperparameter may be one: learning
rate, momentum, weight decay, batch size.
"""

import matplotlib.pyplot as plt
import numpy as np

from gnumba import schedules

MADE = [
    schedules.constant(1.0),
    schedules.exponential(1.0, 0.5, decay_steps=25),
    schedules.step(1.0, every=25, factor=0.5),
    schedules.piecewise(1.0, {30: 0.5, 60: 0.2}),
    schedules.linear(1.0, 0.0, steps=100),
    schedules.polynomial(1.0, 0.0, steps=100, power=2.0),
    schedules.cosine(1.0, steps=100),
    schedules.warmup(schedules.cosine(1.0, steps=80), 20),
    schedules.warmup_cosine(1.0, warmup=20, steps=100),
    schedules.cosine_restarts(1.0, period=20, factor=2.0),
    schedules.inverse_sqrt(1.0, warmup=10),
    schedules.one_cycle(1.0, steps=100),
    schedules.join([schedules.constant(0.5), schedules.cosine(1.0, steps=60)], [40]),
    schedules.alternate(1.0, 0.2, every=10),
]

figure, axes = plt.subplots(7, 2, figsize=(6.4, 9.6), sharex=True, sharey=True)
for ax, schedule in zip(axes.flat, MADE, strict=True):
    ax.plot([schedule(t) for t in range(100)])
    ax.set_title(type(schedule).__name__)
    ax.set(ylim=(-0.05, 1.1), yticks=[0, 1])
for ax in axes[-1]:
    ax.set_xlabel("steps taken")

# %%
# ``ReduceOnPlateau`` is the one that looks at the loss: ``observe`` is told it, and at the
# (patience + 1)-th observation running without an improvement the rate falls.

rate = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=3)
losses, rates = 0.2 + 0.8 * np.exp(-np.arange(60) / 6), []
for loss in losses.round(2):
    rates.append(rate(0))
    rate.observe(loss)

figure, ax = plt.subplots(figsize=(6.4, 3.2))
ax.plot(losses, label="loss, observed")
ax.step(range(60), rates, where="post", label="rate")
ax.set(xlabel="observation", title="ReduceOnPlateau")
ax.legend()
