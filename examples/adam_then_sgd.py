"""Adam for a fast start, SGD for the rest: plans of two phases beside Adam alone and SGD alone.

pip install ".[demo]"
python examples/adam_then_sgd.py

A sigmoid network with two hidden layers learns to read handwritten digits, in each way from the same
weights, for several seeds. What to see: SGD alone is slow to leave the plateau where sigmoid networks begin;
the plans start faster and go on as SGD. On data as easy as this Adam alone ends with the lowest loss, and
the accuracies of all differ no more than those of different seeds.
Keskar & Socher 2017, arXiv:1712.07628.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import gnumba as gn

SIZES = (64, 128, 64, 10)  # units: pixels, two hidden layers, digits
SEEDS = range(5)  # of the split, the weights and the batches


def adam_then_sgd(params):
    """By steps, with a batch size a phase; SGD starts anew."""
    adam = gn.Phase(gn.Adam, steps=105, lr=1e-2, batch_size=64)
    return gn.Phases(params, [adam, gn.Phase(gn.SGD, lr=0.5, batch_size=32)], carry="reset")


def adam_then_momentum(params):
    """By steps; Adam's mean gradient goes on as Momentum's."""
    adam = gn.Phase(gn.Adam, steps=105, lr=1e-2, batch_size=64)
    return gn.Phases(params, [adam, gn.Phase(gn.Momentum, lr=0.5, batch_size=32)], carry="momentum")


def rmsprop_then_sgd(params):
    """After the first epoch whose loss is not below the best."""
    rmsprop = gn.Phase(gn.RMSProp, patience=0, lr=1e-2, batch_size=64)
    return gn.Phases(params, [rmsprop, gn.Phase(gn.SGD, lr=0.5, batch_size=32)])


def cold_start(params):
    """Large batches and a high rate first."""
    return gn.cold_start(params, 25, start_lr=3e-2, start_batch=256, lr=0.5, batch=32)


WAYS = {  # how to make the optimizer, and the batch size where it has none of its own
    "Adam": (lambda params: gn.Adam(params, lr=1e-2), 64),
    "SGD": (lambda params: gn.SGD(params, lr=0.5), 32),
    "Adam, then SGD": (adam_then_sgd, None),
    "Adam, then Momentum": (adam_then_momentum, None),
    "RMSProp, then SGD": (rmsprop_then_sgd, None),
    "cold start": (cold_start, None),
}
COLOURS = ("#e69f00", "#999999", "#0072b2", "#56b4e9", "#009e73", "#cc79a7")


class Network:
    """Sigmoid units, and the logarithms of the digits' probabilities."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.weights = [gn.init.xavier_normal(shape, rng=rng) for shape in pairwise(SIZES)]
        self.biases = [np.zeros(size, np.float32) for size in SIZES[1:]]
        self.params = self.weights + self.biases

    def forward(self, x):
        """Every layer's input, and the scores."""
        inputs = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs.append(gn.sigmoid(inputs[-1] @ weight + bias))
        return inputs, inputs[-1] @ self.weights[-1] + self.biases[-1]

    def gradients(self, x, labels):
        """Of the mean cross-entropy, in the order of the parameters."""
        inputs, scores = self.forward(x)
        _, dz = gn.losses.softmax_cross_entropy(scores, labels)
        weights, biases = [], []
        for h, weight in zip(reversed(inputs), reversed(self.weights), strict=True):
            weights.insert(0, h.T @ dz)
            biases.insert(0, dz.sum(axis=0))
            if h is not x:
                dz = gn.sigmoid.backward(dz @ weight.T, None, y=h)
        return weights + biases

    def judge(self, x, labels):
        """The loss, and the share of digits that are read right."""
        scores = self.forward(x)[1]
        loss, _ = gn.losses.softmax_cross_entropy(scores, labels)
        return loss, float(np.mean(scores.argmax(axis=1) == labels))


def load_data(seed):
    """Images and labels for training, and a quarter of them for the test."""
    images, labels = load_digits(return_X_y=True)
    x, test_x, labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=seed
    )
    mean, std = x.mean(axis=0), x.std()
    x, test_x = (((rows - mean) / std).astype(np.float32) for rows in (x, test_x))
    return x, labels, test_x, test_labels


def train(make, batch_size, seed, epochs):
    """Training loss and test accuracy after each epoch, and the phase that it began in."""
    x, labels, test_x, test_labels = load_data(seed)
    network = Network(seed)
    optimizer = make(network.params)
    plan = isinstance(optimizer, gn.Phases)
    sizes = optimizer if plan else batch_size
    batches = gn.minibatches(x, labels, batch_size=sizes, rng=seed, drop_last=True)
    course = []
    for _ in range(epochs):
        phase = optimizer.phase if plan else 0
        for batch in batches:
            optimizer.step(network.gradients(*batch))
        loss, _ = network.judge(x, labels)
        if plan:
            optimizer.observe(loss)
        accuracy = network.judge(test_x, test_labels)[1]
        course.append((loss, accuracy, phase))
    return course


def plot(courses, path):
    """Draw loss and accuracy by epoch: the mean over the seeds, and the band from worst to best."""
    figure = Figure(figsize=(10.0, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for (name, course), colour in zip(courses.items(), COLOURS, strict=True):
        epochs = np.arange(1, course.shape[1] + 1)
        for ax, values in zip(axes, np.moveaxis(course, -1, 0), strict=False):
            ax.fill_between(
                epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0
            )
            ax.plot(epochs, values.mean(axis=0), color=colour, linewidth=1.8, label=name)
    axes[0].set(xlabel="epoch", title="training loss (cross-entropy)", yscale="log")
    axes[1].set(xlabel="epoch", title="accuracy on the test images", ylim=(0.85, 1.0))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    for ax in axes:
        ax.grid(alpha=0.25, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    """Train in every way, print a line for each, draw the picture."""
    parser = argparse.ArgumentParser(description="Adam then SGD, beside Adam alone and SGD alone.")
    parser.add_argument("--epochs", type=int, default=60, help="rounds over the images; default: 60")
    parser.add_argument("--out", type=Path, default="adam_then_sgd.png", help="the picture, a PNG file")
    options = parser.parse_args()

    print(
        f"Means of {len(SEEDS)} seeds: loss after 2, 10 and {options.epochs} epochs; accuracy at the end on"
    )
    print("the test images, with its standard deviation; how many epochs began in the first phase")
    courses = {}
    for name, (make, batch_size) in WAYS.items():
        courses[name] = np.array([train(make, batch_size, seed, options.epochs) for seed in SEEDS])
        losses, accuracies, phases = np.moveaxis(courses[name], -1, 0)
        then = [
            f"{losses[:, min(epoch, options.epochs) - 1].mean():.4f}" for epoch in (2, 10, options.epochs)
        ]
        last, first_phase = accuracies[:, -1], np.mean(np.sum(phases == 0, axis=1))
        print(f"{name:20}", *then, f"  {last.mean():.4f} ± {last.std():.4f}   {first_phase:4.1f}")
    plot(courses, options.out)
    print(f"picture: {options.out}")


if __name__ == "__main__":
    # BLAS on one thread: on products as small as these its threads mostly wait for one another.
    with threadpool_limits(1, user_api="blas"):
        main()
