"""
AdaGrad for rare features
=========================

A logistic regression over features of which most are rare, as words are: feature k is on in a share 1/k
of the rows. SGD has one rate for all; AdaGrad gives a rare feature a rate that is not used up.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

FEATURES, ROWS = 300, 20_000
rng = np.random.default_rng(0)
shares = 1.0 / np.arange(2, FEATURES + 2)
x = (rng.random((ROWS, FEATURES)) < shares).astype(np.float32)
truth = rng.standard_normal((FEATURES, 1)).astype(np.float32)
labels = (rng.random((ROWS, 1)) < 1 / (1 + np.exp(-x @ truth))).astype(np.float32)

figure, ax = plt.subplots()
for name, make in {
    "SGD, lr = 1": lambda w: gn.SGD(w, lr=1.0),
    "SGD, lr = 5": lambda w: gn.SGD(w, lr=5.0),
    "SGD, lr = 20": lambda w: gn.SGD(w, lr=20.0),
    "AdaGrad, lr = 0.3": lambda w: gn.AdaGrad(w, lr=0.3),
}.items():
    w = np.zeros((FEATURES, 1), np.float32)
    opt = make(w)
    for _ in range(2):
        for rows, goal in gn.minibatches(x, labels, batch_size=100, rng=0):
            opt.step(rows.T @ gn.losses.sigmoid_cross_entropy(rows @ w, goal)[1])
    parts = np.array_split(np.arange(FEATURES), 12)
    errors = [np.sqrt(np.mean((w[k] - truth[k]) ** 2)) for k in parts]
    ax.plot([1 / shares[k].mean() for k in parts], errors, "o-", label=name)
ax.set(
    xlabel="rows from one appearance of a feature to the next", ylabel="error of its weight", ylim=(0, None)
)
ax.legend()

# %%
# A weight of a rare feature moves only in the batches where that feature is. With one rate for all, 1
# and 5 are too small for the rare ones, and 20 makes the frequent ones swing. For tables of embeddings
# see :doc:`/recipes/embeddings`, where only the rows of a batch are read and written.
