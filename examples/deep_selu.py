"""Sixty-four layers: SELU keeps mean 0 and variance 1, ReLU does not; and which of them learn.

pip install ".[demo]"
python examples/deep_selu.py

SELU with LeCun normal weights, with and without alpha dropout, beside ReLU with He's weights and with
LeCun's, with and without dropout, on handwritten digits with every pixel standardised.
Klambauer et al. 2017, arXiv:1706.02515.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import gnumba as gn

DEPTH, WIDTH = 64, 128
SHOWN_RATE = 0.1  # dropped in each layer for the statistics
TRAINED_RATE = 0.01  # and in training: a unit's way through 64 layers then stays whole in every other step


class Kind(NamedTuple):
    """Parts of a network: activation, initialisation, dropout."""

    activation: gn.Activation
    weights: object  # the initialisation
    dropout: object = None


KINDS = {
    "SELU, LeCun": Kind(gn.selu, gn.init.lecun_normal),
    "SELU, LeCun, alpha dropout": Kind(gn.selu, gn.init.lecun_normal, gn.alpha_dropout),
    "ReLU, He": Kind(gn.relu, gn.init.he_normal),
    "ReLU, He, dropout": Kind(gn.relu, gn.init.he_normal, gn.dropout),
    "ReLU, LeCun": Kind(gn.relu, gn.init.lecun_normal),
}
COLOURS = dict(zip(KINDS, ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#999999"), strict=True))


class Network:
    """Hidden layers of one kind, and scores of the ten digits."""

    def __init__(self, kind, inputs, seed, depth=DEPTH, width=WIDTH, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.kind, self.seed, sizes = kind, seed, [inputs] + [width] * depth + [10]
        self.weights = [kind.weights(shape, rng=rng, dtype=dtype) for shape in pairwise(sizes)]
        self.biases = [np.zeros(size, dtype) for size in sizes[1:]]

    def forward(self, x, rate=0.0, step=0):
        """Every layer's input and its weighted sum; the last sum holds the scores."""
        inputs, sums = [x], []
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            sums.append(inputs[-1] @ weight + bias)
            if layer + 1 < len(self.weights):
                h = self.kind.activation(sums[-1])
                inputs.append(self.kind.dropout(h, rate, (self.seed, layer, step)) if rate else h)
        return inputs, sums

    def loss_and_gradients(self, x, labels, rate=0.0, step=0):
        """Mean cross-entropy, and its gradients: those of the weights, then those of the biases."""
        inputs, sums = self.forward(x, rate, step)
        loss, dz = gn.losses.softmax_cross_entropy(sums[-1], labels)
        weights, biases = [], []
        for layer in reversed(range(len(self.weights))):
            weights.insert(0, inputs[layer].T @ dz)
            biases.insert(0, dz.sum(axis=0))
            if layer:
                dh = dz @ self.weights[layer].T
                if rate:  # the mask is computed again, from the same key
                    dh = self.kind.dropout.backward(dh, rate, (self.seed, layer - 1, step))
                dz = self.kind.activation.backward(dh, sums[layer - 1])
        return loss, weights + biases

    def accuracy(self, x, labels):
        """The share of rows whose highest score is that of the right digit."""
        return np.mean(self.forward(x)[1][-1].argmax(axis=1) == labels)


def load_data():
    """Digits for training and test, every pixel that varies with mean 0 and variance 1."""
    images, labels = load_digits(return_X_y=True)
    images = images[:, images.std(axis=0) > 0.1]
    x, test_x, labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    mean, std = x.mean(axis=0), x.std(axis=0)
    x, test_x = (((rows - mean) / std).astype(np.float32) for rows in (x, test_x))
    return x, labels, test_x, test_labels


def statistics(kind, x):
    """Mean and variance over the images of every unit of every layer, as the network is born."""
    network = Network(kind, x.shape[1], seed=0)
    inputs, _ = network.forward(x, SHOWN_RATE if kind.dropout else 0.0)
    layers = np.stack(inputs[1:]).astype(np.float64)
    return layers.mean(axis=1), layers.var(axis=1)


def train(kind, x, labels, epochs):
    """A trained network, and the mean loss of each epoch."""
    network = Network(kind, x.shape[1], seed=0)
    batches = gn.minibatches(x, labels, batch_size=64, rng=0, drop_last=True)
    schedule = gn.schedules.cosine(2e-4, epochs * len(batches))
    optimizer = gn.Adam(network.weights + network.biases, lr=schedule, max_norm=1.0)
    rate = TRAINED_RATE if kind.dropout else 0.0
    losses = []
    for _ in range(epochs):
        for batch in batches:
            loss, grads = network.loss_and_gradients(*batch, rate, optimizer.t)
            optimizer.step(grads)
            losses.append(loss)
    return network, np.reshape(losses, (epochs, -1)).mean(axis=1)


def plot(units, losses, path):
    """Draw mean and variance by layer, the average unit and the band of eight in ten, and the losses."""
    figure = Figure(figsize=(12.0, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    layers = np.arange(1, DEPTH + 1)
    for name, colour in COLOURS.items():
        for ax, values in zip(axes, units[name], strict=False):
            low, high = np.quantile(values, [0.1, 0.9], axis=1)
            ax.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
            ax.plot(layers, values.mean(axis=1), color=colour, linewidth=1.8, label=name)
        axes[2].plot(np.arange(1, len(losses[name]) + 1), losses[name], color=colour, linewidth=1.8)
    axes[0].set(xlabel="layer, before training", title="a unit's mean over the images", ylim=(-0.5, 4))
    axes[1].set(
        xlabel="layer, before training",
        title="a unit's variance over the images",
        yscale="log",
        ylim=(1e-4, 1e4),
    )
    axes[2].set(xlabel="epoch", title="training loss (cross-entropy)", ylim=(0, 2.5))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    for ax in axes:
        ax.grid(alpha=0.25, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    """Look at the networks as they are born, train them, print a line for each, draw the picture."""
    parser = argparse.ArgumentParser(description="What 64 layers of SELU and of ReLU do to their input.")
    parser.add_argument("--epochs", type=int, default=30, help="rounds over the images; default: 30")
    parser.add_argument("--out", type=Path, default="deep_selu.png", help="the picture, a PNG file")
    options = parser.parse_args()

    x, labels, test_x, test_labels = load_data()
    print(f"Layer {DEPTH} before training: mean and variance over {len(x):,} images, of the average unit.")
    print(f"After {options.epochs} epochs: the last one's loss, the accuracy on {len(test_x)} other images.")
    units, losses = {}, {}
    for name, kind in KINDS.items():
        units[name] = statistics(kind, x)
        mean, variance = (values[-1].mean() for values in units[name])
        network, losses[name] = train(kind, x, labels, options.epochs)
        accuracy = network.accuracy(test_x, test_labels)
        print(f"{name:27} {mean:6.2f} {variance:8.2g}   {losses[name][-1]:6.3f}  {accuracy:.3f}")
    plot(units, losses, options.out)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    # BLAS on one thread: on products as small as these its threads mostly wait for one another.
    with threadpool_limits(1, user_api="blas"):
        main()
