"""
Quickstart: read handwritten digits
===================================

A network with one hidden layer, in thirty lines of NumPy. gnumba has the first weights, the
activation and its derivative, the loss and its gradient, the batches, and the optimizer.
"""

import numpy as np
from sklearn.datasets import load_digits

import gnumba as gn

images, labels = load_digits(return_X_y=True)  # 1,797 scans of 8 x 8 pixels
x = ((images - images.mean(axis=0)) / images.std()).astype(np.float32)
train, test = slice(0, 1347), slice(1347, None)

rng = np.random.default_rng(0)
params = {
    "W1": gn.init.he_normal((64, 128), rng=rng),
    "b1": np.zeros(128, np.float32),
    "W2": gn.init.he_normal((128, 10), rng=rng),
    "b2": np.zeros(10, np.float32),
}
opt = gn.Adam(params, lr=3e-3)
batches = gn.minibatches(x[train], labels[train], batch_size=32, rng=rng)

for epoch in range(10):
    for rows, digits in batches:
        z = rows @ params["W1"] + params["b1"]
        h = gn.relu(z)
        loss, dy = gn.losses.softmax_cross_entropy(h @ params["W2"] + params["b2"], digits)
        dz = gn.relu.backward(dy @ params["W2"].T, z)
        opt.step({"W1": rows.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ dy, "b2": dy.sum(axis=0)})
    scores = gn.relu(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
    loss, _ = gn.losses.softmax_cross_entropy(scores[train], labels[train])
    print(f"epoch {epoch}  loss {loss:.4f}  accuracy {np.mean(scores.argmax(axis=1) == labels):.3f}")

right = scores[test].argmax(axis=1) == labels[test]
print(f"test accuracy {right.mean():.3f}")

# %%
# ``params`` is updated where it is: whoever holds the arrays sees the trained weights. These are the
# images of the test that the network reads wrong.

import matplotlib.pyplot as plt

wrong = np.flatnonzero(~right)[:8]
figure, axes = plt.subplots(2, 4, figsize=(6.4, 3.6))
for ax, k in zip(axes.flat, wrong, strict=False):
    ax.imshow(images[test][k].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{labels[test][k]} read as {scores[test][k].argmax()}")
for ax in axes.flat:
    ax.axis("off")

# %%
# Where to go from here: :doc:`/choosing/optimizer` for other problems, :doc:`/recipes/index` for groups,
# averages and checkpoints, :doc:`/coming_from/pytorch` if you know PyTorch.
