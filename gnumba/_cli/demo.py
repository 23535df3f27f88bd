"""The demo: a multilayer perceptron learns to read digits, with each optimizer and from several seeds.

Forward and backward are NumPy, activations and optimizers gnumba's. scikit-learn (the data), tqdm,
rich and matplotlib are imported when used: they come with the extra ``demo``.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gnumba as gn

if TYPE_CHECKING:
    from rich.table import Table
    from tqdm import tqdm

__all__ = ["ACTIVATIONS", "OPTIMIZERS", "Options", "missing_packages", "run"]

Array = np.ndarray[Any, np.dtype[Any]]

PACKAGES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm", "rich": "rich"}
SIZES = (64, 256, 128, 10)  # units: an image's 8 x 8 pixels, two hidden layers, the ten digits

# Rates for batches of at least 64, chosen on validation images taken from the training images.
BATCH_SIZE = 64
OPTIMIZERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 0.3},
    "Momentum": {"lr": 0.5},
    "AdaGrad": {"lr": 0.015},
    "RMSProp": {"lr": 0.001},
    "Adam": {"lr": 0.003},
    "AdamW": {"lr": 0.003, "weight_decay": 0.05},
}
TARGET = 0.97  # the accuracy to which steps are counted
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7")  # for the colour-blind too
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "silu")


@dataclass(frozen=True)
class Options:
    """Settings common to the trials of all optimizers."""

    activation: str = "relu"
    epochs: int = 12
    batch_size: int = BATCH_SIZE
    seed: int = 0  # the first; of the split, the first weights and the batches
    seeds: int = 3  # trials, each from a seed of its own


@dataclass(frozen=True)
class Data:
    """Images as rows of standardised pixels, and the digits they show."""

    x: Array
    labels: Array
    test_x: Array
    test_labels: Array


class Network:
    """A multilayer perceptron whose parameters lie in dicts by name."""

    def __init__(self, activation: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.activation = getattr(gn, activation)
        first_weights = gn.init.for_activation(self.activation)
        self.layers = range(1, len(SIZES))
        self.weights: dict[str, Array] = {}
        self.slopes: dict[str, Array] = {}  # PReLU's, one a hidden unit
        for k, (fan_in, fan_out) in zip(self.layers, pairwise(SIZES), strict=True):
            self.weights[f"W{k}"] = first_weights((fan_in, fan_out), rng=rng)
            self.weights[f"b{k}"] = np.zeros(fan_out, np.float32)
            if activation == "prelu" and k < len(self.layers):
                self.slopes[f"alpha{k}"] = np.full(fan_out, 0.25, np.float32)

    def groups(self) -> list[dict[str, Any]]:
        """The parameters as an optimizer takes them; slopes apart, since decay would pull them to ReLU."""
        groups: list[dict[str, Any]] = [
            {"name": "weights", "params": self.weights},
            {"name": "slopes", "params": self.slopes, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def forward(self, x: Array) -> tuple[list[Array], list[Array]]:
        """Each layer's input and its weighted sum; the last sum holds the scores of the digits."""
        inputs, sums = [x], []
        for k in self.layers:
            sums.append(inputs[-1] @ self.weights[f"W{k}"] + self.weights[f"b{k}"])
            if k < len(self.layers):
                inputs.append(self.activation(sums[-1], *self._slope(k)))
        return inputs, sums

    def backward(self, dz: Array, inputs: list[Array], sums: list[Array]) -> list[dict[str, Array]]:
        """Gradients in the structure of ``groups``, from the gradient in the scores."""
        weights: dict[str, Array] = {}
        slopes: dict[str, Array] = {}
        for k in reversed(self.layers):
            x = inputs[k - 1]
            weights[f"W{k}"] = x.T @ dz
            weights[f"b{k}"] = dz.sum(axis=0)
            if k > 1:
                dx, alpha = dz @ self.weights[f"W{k}"].T, self._slope(k - 1)
                dz = self.activation.backward(dx, sums[k - 2], *alpha, y=x)
                if alpha:
                    dz, slopes[f"alpha{k - 1}"] = dz
        return [weights, slopes] if slopes else [weights]

    def loss_and_gradients(self, x: Array, labels: Array) -> tuple[float, list[dict[str, Array]]]:
        """The loss of a batch, and its gradients in the structure of ``groups``."""
        inputs, sums = self.forward(x)
        loss, dz = gn.losses.softmax_cross_entropy(sums[-1], labels)
        return loss, self.backward(dz, inputs, sums)

    def accuracy(self, x: Array, labels: Array) -> float:
        """The share of rows whose highest score is that of the right digit."""
        _, sums = self.forward(x)
        return float(np.mean(sums[-1].argmax(axis=1) == labels))

    def _slope(self, k: int) -> tuple[Array, ...]:
        """Arguments of layer ``k``'s activation beside x: PReLU's slopes; none for other activations."""
        return (self.slopes[f"alpha{k}"],) if self.slopes else ()


def load_data(seed: int) -> Data:
    """scikit-learn's 1,797 digits, a quarter of each digit's images kept for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x, test_x, labels, test_labels = train_test_split(
        pixels, labels, test_size=0.25, stratify=labels, random_state=seed
    )
    mean, std = x.mean(axis=0), x.std()  # one std for all, as a pixel that hardly varies would be all noise
    x, test_x = (((rows - mean) / std).astype(np.float32) for rows in (x, test_x))
    return Data(x, labels, test_x, test_labels)


def batches(count: int, size: int, rng: np.random.Generator) -> list[Array]:
    """Numbers of the rows of each batch: every row once, in random order, at most ``size`` a batch."""
    return np.array_split(rng.permutation(count), math.ceil(count / size))


def make_optimizer(name: str, network: Network, batch_size: int) -> gn.Optimizer:
    """The optimizer; small batches give noisy gradients, and get a smaller rate in proportion."""
    chosen = OPTIMIZERS[name]
    lr = chosen["lr"] * min(1.0, batch_size / BATCH_SIZE)
    made: gn.Optimizer = getattr(gn, name)(network.groups(), **chosen | {"lr": lr})
    return made


def train(
    network: Network, optimizer: gn.Optimizer, data: Data, options: Options, seed: int
) -> Iterator[float]:
    """Train, and yield the loss of each step."""
    rng = np.random.default_rng(seed)
    for _ in range(options.epochs):
        for rows in batches(len(data.x), options.batch_size, rng):
            loss, gradients = network.loss_and_gradients(data.x[rows], data.labels[rows])
            optimizer.step(gradients)
            yield loss


@dataclass(frozen=True)
class Trial:
    """One training."""

    lr: float
    losses: Array  # one a step
    checked: Array  # after which steps the accuracy was measured
    accuracies: Array  # then, on the test images
    seconds: float
    slopes: Array  # PReLU's, of all hidden units; none for other activations

    @property
    def reached(self) -> float:
        """The steps until the accuracy was `TARGET`; inf if it never was."""
        return float(min(self.checked[self.accuracies >= TARGET], default=math.inf))


def trial(name: str, data: Data, options: Options, seed: int, bar: tqdm[Any]) -> Trial:
    """Train with one optimizer, from the weights and with the batches that all of them get from this seed."""
    network = Network(options.activation, seed)
    optimizer = make_optimizer(name, network, options.batch_size)
    bar.set_description(f"{name:9}")
    steps, losses, checked, accuracies = steps_of(data, options), [], [], []
    every, seconds, start = max(1, steps // options.epochs // 4), 0.0, time.perf_counter()
    for loss in train(network, optimizer, data, options, seed):
        losses.append(loss)
        bar.update()
        if len(losses) % every == 0 or len(losses) == steps:
            seconds += time.perf_counter() - start
            checked.append(len(losses))
            accuracies.append(network.accuracy(data.test_x, data.test_labels))
            start = time.perf_counter()
    slopes = np.concatenate([*network.slopes.values(), []])
    return Trial(optimizer.lr, np.array(losses), np.array(checked), np.array(accuracies), seconds, slopes)


def steps_of(data: Data, options: Options) -> int:
    """The steps of a training."""
    return options.epochs * math.ceil(len(data.x) / options.batch_size)


def compile_kernels(names: Sequence[str], data: Data, options: Options, bar: tqdm[Any]) -> float:
    """Take a step with each optimizer on a network thrown away; the seconds it took.

    So compiling, or loading what an earlier process compiled, stays out of the times in the table.
    """
    start = time.perf_counter()
    network = Network(options.activation, options.seed)
    bar.set_description(f"compiling {options.activation}")
    network.accuracy(data.test_x, data.test_labels)
    bar.update()
    for name in names:
        bar.set_description(f"compiling {name}")
        next(train(network, make_optimizer(name, network, options.batch_size), data, options, options.seed))
        bar.update()
    return time.perf_counter() - start


Results = dict[str, list[Trial]]  # an optimizer's trials, one a seed


def table(results: Results, title: str, caption: str) -> Table:
    """An optimizer a row: medians of its trials; of the steps to `TARGET`, the least and the most too."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_style="bold", caption_style="dim")
    made.add_column("optimizer", no_wrap=True)
    learned = ["slopes α"] if any(each.slopes.size for trials in results.values() for each in trials) else []
    for heading in ("lr", f"steps to {TARGET:.0%}", "test accuracy", "last loss", "steps/s", *learned):
        made.add_column(heading, justify="right")
    for name, trials in results.items():
        slopes = np.concatenate([each.slopes for each in trials])
        made.add_row(
            name,
            f"{trials[0].lr:g}",
            spread([each.reached for each in trials]),
            f"{np.median([each.accuracies[-1] for each in trials]):.4f}",
            f"{np.median([smooth(each.losses)[-1] for each in trials]):.1e}",
            f"{sum(len(each.losses) for each in trials) / sum(each.seconds for each in trials):,.0f}",
            *[f"{slopes.min():.2f}–{slopes.max():.2f}" for _ in learned],
        )
    return made


def spread(steps: Sequence[float]) -> str:
    """The median, and from the least to the most; "never" where training ended before."""
    shown = [
        "never" if math.isinf(each) else f"{each:.0f}" for each in (np.median(steps), min(steps), max(steps))
    ]
    return shown[0] if len(steps) == 1 else f"{shown[0]} ({shown[1]}–{shown[2]})"


def smooth(losses: Array) -> Array:
    """The running mean over a twentieth of the steps; at the ends, over what there is of them."""
    window = np.hanning(max(1, len(losses) // 20) + 2)[1:-1]
    return np.convolve(losses, window, "same") / np.convolve(np.ones(len(losses)), window, "same")


def plot(results: Results, title: str, path: Path) -> None:
    """Draw the loss, and the accuracy up to where it is good: means over the seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)  # draws without a screen, and leaves the user's backend as it is
    figure.suptitle(title)
    losses, accuracies = figure.subplots(1, 2)
    colours = dict(zip(OPTIMIZERS, COLOURS, strict=True))
    for name, trials in results.items():
        loss = np.mean([smooth(each.losses) for each in trials], axis=0)
        accuracy = np.mean([each.accuracies for each in trials], axis=0)
        losses.plot(np.arange(1, len(loss) + 1), loss, color=colours[name], linewidth=1.8, label=name)
        accuracies.plot(trials[0].checked, accuracy, color=colours[name], linewidth=1.8)
    losses.set(xlabel="step", ylabel="training loss (cross-entropy)", yscale="log")
    accuracies.set(xlabel="step", ylabel="test accuracy", xscale="log", ylim=(TARGET - 0.12, 1.0))
    accuracies.axhline(TARGET, color="black", linewidth=0.8, linestyle=":")
    losses.legend(frameon=False)
    for axes in (losses, accuracies):
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")


def missing_packages() -> list[str]:
    """Packages of the demo's extra that are not installed."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def run(names: Sequence[str], options: Options, out: Path) -> None:
    """Train with each optimizer named, print the table, write the picture."""
    from rich.console import Console
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
    from tqdm import tqdm

    data = {seed: load_data(seed) for seed in range(options.seed, options.seed + options.seeds)}
    first = data[options.seed]
    steps = steps_of(first, options) * len(data) * len(names)
    # BLAS on one thread: on products as small as these its threads mostly wait for one another.
    with (
        threadpool_limits(1, user_api="blas"),
        tqdm(total=1 + len(names) + steps, desc="compiling", unit="step") as bar,
    ):
        compiling = compile_kernels(names, first, options, bar)
        results = {name: [trial(name, data[seed], options, seed, bar) for seed in data] for name in names}

    layers = "-".join(map(str, SIZES))
    title = f"Digits: {layers} perceptron, {options.activation}"
    images = f"{len(first.x):,} training and {len(first.test_x)} test images"
    caption = (
        f"{images}, epochs: {options.epochs}, batch size: {options.batch_size}\n"
        f"medians of {len(data)} seeds (least–most); compiling took another {compiling:.1f} s"
    )
    console = Console()
    console.print(table(results, title, caption))
    plot(results, title, out)
    console.out(f"Curves: {out}", highlight=False)
