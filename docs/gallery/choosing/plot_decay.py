"""
Let the rate fall
=================

A constant rate leaves the weights trembling about the minimum, by the noise of the batches. A rate that
falls lets them settle.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

EPOCHS, BATCH = 30, 16
data = lab.digits()
rng = np.random.default_rng(0)
noisy = data.labels.copy()
wrong = rng.random(len(noisy)) < 0.3
noisy[wrong] = rng.integers(10, size=wrong.sum())  # three in ten are wrong: gradients never agree
data = data._replace(labels=noisy)
STEPS = EPOCHS * -(-len(data.x) // BATCH)

RATES = {
    "constant": 0.3,
    "step: a fifth at 60 % and 80 %": gn.schedules.piecewise(
        0.3, {6 * STEPS // 10: 0.2, 8 * STEPS // 10: 0.2}
    ),
    "cosine to 0": gn.schedules.cosine(0.3, STEPS),
    "1 / √t": gn.schedules.inverse_sqrt(0.3, warmup=100),
}
figure, ax = plt.subplots()
for name, lr in RATES.items():
    network = lab.Network(sizes=(64, 10))  # one layer, too small to learn them by heart
    course = lab.train(lambda p, lr=lr: gn.SGD(p, lr=lr), data, EPOCHS, BATCH, network=network)
    ax.plot(np.arange(1, EPOCHS + 1), course.losses, label=name)
    print(f"{name:32} loss {course.losses[-1]:.3f}, test accuracy {course.accuracies[-1]:.3f}")
ax.set(xlabel="epoch", ylabel="training loss")
ax.legend()

# %%
# Cosine needs to know how long training takes; 1/√t and ``ReduceOnPlateau`` do not. ``gn.EMA`` keeps an
# average of the weights beside a constant rate; ``gn.ScheduleFreeSGD`` needs no schedule.
