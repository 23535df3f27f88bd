"""The network of the gallery's runs: handwritten digits, forward and backward written out in NumPy.

A run takes a tenth of a second. ``examples/digits.py`` is the same in one file without functions.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gnumba as gn


class Data(NamedTuple):
    """Images as rows of standardised pixels, and the digits they show."""

    x: np.ndarray
    labels: np.ndarray
    test_x: np.ndarray
    test_labels: np.ndarray


def digits(seed=0):
    """scikit-learn's 1,797 images of 8 × 8 pixels, a quarter kept for the test."""
    images, labels = load_digits(return_X_y=True)
    x, test_x, labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=seed
    )
    mean, std = x.mean(axis=0), x.std()
    x, test_x = (((rows - mean) / std).astype(np.float32) for rows in (x, test_x))
    return Data(x, labels, test_x, test_labels)


class Network:
    """A multilayer perceptron; ``params`` is what an optimizer takes."""

    def __init__(self, sizes=(64, 128, 64, 10), activation=gn.relu, weights=None, seed=0):
        rng = np.random.default_rng(seed)
        make = weights or gn.init.for_activation(activation)
        self.activation, self.layers = activation, range(1, len(sizes))
        self.params = {f"W{k}": make(shape, rng=rng) for k, shape in enumerate(pairwise(sizes), start=1)}
        self.params |= {f"b{k}": np.zeros(size, np.float32) for k, size in enumerate(sizes[1:], start=1)}

    def forward(self, x):
        """Every layer's input and its weighted sum; the last sum holds the scores of the digits."""
        inputs, sums = [x], []
        for k in self.layers:
            sums.append(inputs[-1] @ self.params[f"W{k}"] + self.params[f"b{k}"])
            inputs.append(self.activation(sums[-1]))
        return inputs, sums

    def loss_and_gradients(self, x, labels):
        """The mean cross-entropy of a batch, and its gradients by name."""
        inputs, sums = self.forward(x)
        loss, dz = gn.losses.softmax_cross_entropy(sums[-1], labels)
        grads = {}
        for k in reversed(self.layers):
            grads[f"W{k}"], grads[f"b{k}"] = inputs[k - 1].T @ dz, dz.sum(axis=0)
            if k > 1:
                dz = self.activation.backward(dz @ self.params[f"W{k}"].T, sums[k - 2])
        return loss, grads

    def evaluate(self, x, labels):
        """The loss, and the share of images that are read right."""
        scores = self.forward(x)[1][-1]
        return gn.losses.softmax_cross_entropy(scores, labels)[0], np.mean(scores.argmax(axis=1) == labels)


class Course(NamedTuple):
    """Record of a run: the loss of every batch, then loss and test accuracy after every epoch."""

    batches: np.ndarray
    losses: np.ndarray
    accuracies: np.ndarray


def train(make, data, epochs=10, batch_size=64, seed=0, network=None):
    """Train a network with the optimizer that ``make(params)`` gives."""
    network = network or Network(seed=seed)
    optimizer = make(network.params)
    sizes = optimizer if isinstance(optimizer, gn.Phases) else batch_size
    batches = gn.minibatches(data.x, data.labels, batch_size=sizes, rng=seed)
    steps, course = [], []
    with np.errstate(all="ignore"):  # some of the runs diverge, on purpose
        for _ in range(epochs):
            for x, labels in batches:
                loss, grads = network.loss_and_gradients(x, labels)
                optimizer.step(grads)
                steps.append(loss)
            loss, _ = network.evaluate(data.x, data.labels)
            if hasattr(optimizer, "observe"):
                optimizer.observe(loss)
            course.append((loss, network.evaluate(data.test_x, data.test_labels)[1]))
    return Course(np.array(steps), *np.array(course).T)


def measured(name):
    """Figures that ``python tools/figures.py`` wrote, as they take too long to measure in a build."""
    return json.loads((Path(__file__).parent / "data" / f"{name}.json").read_text())


class Film:
    """A figure that moves once, for a page: ``draw(k)`` changes it to its frame k."""

    def __init__(self, figure, draw, frames, text, milliseconds=80):
        from io import BytesIO

        from PIL import Image

        pictures, made = [], BytesIO()
        for k in range(frames):
            draw(k)
            figure.canvas.draw()
            pictures.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(64))
        durations = [milliseconds] * (frames - 1) + [3000]
        pictures[0].save(made, "GIF", save_all=True, append_images=pictures[1:], duration=durations)
        self.gif, self.text, self.width = made.getvalue(), text, pictures[0].width

    def _repr_html_(self):
        from base64 import b64encode

        source = f"data:image/gif;base64,{b64encode(self.gif).decode()}"
        return f'<img src="{source}" alt="{self.text}" width="{self.width}">'
