"""Train a small network on scikit-learn's handwritten digits, forward and backward written out.

pip install ".[demo]"
python examples/digits.py
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gnumba as gn

parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
parser.add_argument("--epochs", type=int, default=30, help="rounds over the training images; default: 30")
epochs = parser.parse_args().epochs

# Data: 1,797 scans of 8 x 8 pixels, a quarter kept for the test; standardised by the training images.
images, labels = load_digits(return_X_y=True)
x, test_x, labels, test_labels = train_test_split(
    images, labels, test_size=0.25, stratify=labels, random_state=0
)
mean, std = x.mean(axis=0), x.std()
x, test_x = ((x - mean) / std).astype(np.float32), ((test_x - mean) / std).astype(np.float32)
targets = np.eye(10, dtype=np.float32)[labels]  # one row an image: 1 for its digit, else 0

# Parameters: one hidden layer of ReLU units, so He's first weights.
rng = np.random.default_rng(0)
params = {
    "W1": gn.init.he_normal((64, 128), rng=rng),
    "b1": np.zeros(128, np.float32),
    "W2": gn.init.he_normal((128, 10), rng=rng),
    "b2": np.zeros(10, np.float32),
}
optimizer = gn.Adam(params, lr=3e-3)
batches = gn.minibatches(x, targets, batch_size=32, rng=rng, drop_last=True)  # the rest: another epoch


def forward(x):
    """The hidden layer before and after ReLU, and the digits' scores."""
    z = x @ params["W1"] + params["b1"]
    h = gn.relu(z)
    return z, h, h @ params["W2"] + params["b2"]


for epoch in range(1, epochs + 1):
    for images, digits in batches:
        z, h, scores = forward(images)
        _, dscores = gn.losses.softmax_cross_entropy(scores, digits)
        dz = gn.relu.backward(dscores @ params["W2"].T, z)
        optimizer.step(
            {
                "W1": images.T @ dz,
                "b1": dz.sum(axis=0),
                "W2": h.T @ dscores,
                "b2": dscores.sum(axis=0),
            }
        )
    if epoch == 1 or epoch % 5 == 0 or epoch == epochs:
        loss, _ = gn.losses.softmax_cross_entropy(forward(x)[2], targets)
        print(f"epoch {epoch:3}  loss {loss:.5f}")

accuracy = np.mean(forward(test_x)[2].argmax(axis=1) == test_labels)
print(f"test accuracy {accuracy:.4f}")
