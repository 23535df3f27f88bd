"""
Adam, then SGD; RMSProp, then SGD; a cold start
===============================================

A sigmoid network starts on a plateau that SGD is slow to leave. The plans start with an adaptive rule,
then go on as SGD. The network and the plans are ``examples/adam_then_sgd.py``.
"""

import matplotlib.pyplot as plt
import numpy as np
from adam_then_sgd import WAYS, train

EPOCHS, SEEDS = 20, range(2)

courses = {way: np.array([train(*WAYS[way], seed, EPOCHS) for seed in SEEDS]) for way in WAYS}

figure, ax = plt.subplots()
for way, course in courses.items():
    losses = course[..., 0]
    (line,) = ax.semilogy(range(1, EPOCHS + 1), losses.mean(axis=0), label=way)
    ax.fill_between(
        range(1, EPOCHS + 1),
        losses.min(axis=0),
        losses.max(axis=0),
        alpha=0.15,
        color=line.get_color(),
        linewidth=0,
    )
ax.set(xlabel="epoch", ylabel="training loss")
ax.legend()

for way, course in courses.items():
    first = np.mean(np.argmax(course[..., 0] < 0.5, axis=1)) + 1
    print(f"{way:20} loss below 0.5 after {first:4.1f} epochs, test accuracy {course[:, -1, 1].mean():.3f}")

# %%
# Adam, then SGD, and RMSProp, then SGD, leave the plateau as Adam does, and go on as SGD. The cold
# start takes large batches first, so fewer steps an epoch: it is behind at first and
# overtakes SGD later.
#
# On data as easy as this, Adam alone ends with the lowest training loss, and the test accuracies differ
# no more than those of different seeds. Try a plan where Adam's test loss is worse than SGD's; do not
# expect it everywhere.
