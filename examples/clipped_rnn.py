"""A recurrent network that writes: the same training with and without gradient clipping.

pip install ".[demo]"
python examples/clipped_rnn.py

The text is the King James Bible where Debian's `bible` is installed (apt install bible-kjv), otherwise
the help on Python that comes with Python. The network reads one character after another and guesses
the next; its gradient goes back through 64 of them, and through the same matrix 64 times.
Pascanu et al. 2013, arXiv:1211.5063.
"""

import argparse
import math
import shutil
import subprocess
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from threadpoolctl import threadpool_limits

import gnumba as gn

UNITS, LENGTH, STREAMS = 128, 64, 32  # hidden units; characters that a gradient goes back; texts read at once
RUNS = {  # learning rate, largest norm of the gradient
    "clipped at norm 1": {"lr": 1.0, "max_norm": 1.0},
    "not clipped": {"lr": 1.0, "max_norm": math.inf},  # inf: the norm is taken all the same
    "not clipped, lower rate": {"lr": 0.2, "max_norm": math.inf},
}
COLOURS = ("#0072b2", "#d55e00", "#e69f00")


def read_text():
    """Half a million characters of a real text, and its name."""
    if bible := shutil.which("bible"):
        verses = subprocess.run([bible, "-f", "gen1:1-deu34:12"], capture_output=True, text=True, check=True)
        return verses.stdout[:500_000], "the Bible, King James Version"
    print("No program `bible` here (apt install bible-kjv): Python's own help instead.")
    return "\n".join(topics.values())[:500_000], "Python's help"


class Network:
    """h = tanh(Wx[character] + h Wh + b); the scores of the next character are h Wy + by."""

    def __init__(self, characters, seed, dtype=np.float32):
        rng = np.random.default_rng(seed)
        self.params = {
            "Wx": gn.init.normal((characters, UNITS), std=0.1, rng=rng, dtype=dtype),
            "Wh": gn.init.orthogonal((UNITS, UNITS), rng=rng, dtype=dtype),
            "b": np.zeros(UNITS, dtype),
            "Wy": gn.init.xavier_normal((UNITS, characters), rng=rng, dtype=dtype),
            "by": np.zeros(characters, dtype),
        }

    def forward(self, text, h):
        """The hidden state before every character and after the last, and the guesses' scores.

        ``text`` holds numbers of characters, of shape (length, streams); ``h`` is the state before them.
        """
        p, states = self.params, [h]
        for x in p["Wx"][text] + p["b"]:
            x += states[-1] @ p["Wh"]
            states.append(gn.tanh(x, out=x))
        return np.stack(states), np.stack(states[1:]) @ p["Wy"] + p["by"]

    def loss_and_gradients(self, text, following, h):
        """Mean cross-entropy of the guesses, its gradients, and the state after the text."""
        p = self.params
        h, scores = self.forward(text, h)
        loss, dscores = gn.losses.softmax_cross_entropy(scores, following)
        dh = dscores @ p["Wy"].T
        for t in reversed(range(len(text))):  # dh[t] becomes the gradient in what tanh was taken of
            gn.tanh.backward(dh[t], None, y=h[t + 1], out=dh[t])
            if t:
                dh[t - 1] += dh[t] @ p["Wh"].T
        flat = dh.reshape(-1, UNITS)
        grads = {
            "Wx": gn.Rows(text.ravel(), flat),
            "Wh": h[:-1].reshape(-1, UNITS).T @ flat,
            "b": flat.sum(axis=0),
            "Wy": h[1:].reshape(-1, UNITS).T @ dscores.reshape(text.size, -1),
            "by": dscores.sum(axis=(0, 1)),
        }
        return loss, grads, h[-1]

    def write(self, start, length, rng):
        """Numbers of characters, drawn one after another as the network guesses them."""
        h, written = np.zeros((1, UNITS), np.float32), [start]
        for _ in range(length):
            states, scores = self.forward(np.array([written[-1:]]), h)
            p = gn.softmax(scores[0, 0].astype(np.float64))
            h = states[-1]
            written.append(rng.choice(len(p), p=p))
        return written


def train(network, text, epochs, **options):
    """The loss and the norm of the gradient before clipping, step by step."""
    optimizer = gn.SGD(network.params, **options)
    streams = text[: len(text) // STREAMS * STREAMS].reshape(STREAMS, -1).T
    losses, norms = [], []
    for _ in range(epochs):
        h = np.zeros((STREAMS, UNITS), np.float32)
        for start in range(0, len(streams) - LENGTH, LENGTH):
            rows = slice(start, start + LENGTH), slice(start + 1, start + LENGTH + 1)
            loss, grads, h = network.loss_and_gradients(*(streams[r] for r in rows), h)
            optimizer.step(grads)
            losses.append(loss)
            norms.append(optimizer.grad_norm)
    return np.array(losses), np.array(norms)


def smooth(values):
    """The running mean over a fiftieth of the steps."""
    window = np.ones(max(1, len(values) // 50))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def plot(results, name, path):
    """Draw loss and norm of every run: each step faint, its running mean over it."""
    figure = Figure(figsize=(10.0, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{UNITS} recurrent tanh units read {name}; gradients through {LENGTH} characters")
    left, right = figure.subplots(1, 2)
    for (run, (losses, norms)), colour in zip(results.items(), COLOURS, strict=True):
        for axes, values in ((left, losses), (right, norms)):
            steps = np.arange(1, len(values) + 1)
            axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.5)
            axes.plot(
                steps, smooth(values), color=colour, linewidth=1.8, label=f"{run}, lr {RUNS[run]['lr']:g}"
            )
    left.set(ylabel="loss: cross-entropy of the next character", yscale="log", yticks=[1, 2, 5, 10, 20, 50])
    right.set(
        ylabel="norm of the gradient, before clipping",
        yscale="log",
        yticks=[0.3, 1, 3, 10, 30],
        ylim=(0.2, 80),
    )
    right.axhline(1.0, color="0.4", linewidth=0.8, linestyle="--")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    """Train three times from the same weights, print how it went, draw it, let the network write."""
    parser = argparse.ArgumentParser(description="Train a recurrent network with and without clipping.")
    parser.add_argument("--epochs", type=int, default=10, help="rounds over the text; default: 10")
    parser.add_argument("--out", type=Path, default="clipped_rnn.png", help="the picture, a PNG file")
    options = parser.parse_args()

    text, name = read_text()
    alphabet, numbers = np.unique(list(text), return_inverse=True)
    print(f"{len(text):,} characters of {name}, {len(alphabet)} different ones")
    networks, results = {}, {}
    for run, hyper in RUNS.items():
        networks[run] = Network(len(alphabet), seed=0)
        losses, norms = results[run] = train(networks[run], numbers, options.epochs, **hyper)
        last, above = losses[-len(losses) // 10 :].mean(), np.mean(norms > 1.0)
        print(
            f"{run:24}  lr {hyper['lr']:3g}  last loss {last:7.3f}  "
            f"norm above 1 in {above:5.1%} of the steps, at most {norms.max():.1f}"
        )
    plot(results, name, options.out)
    print(f"picture: {options.out}")
    written = networks["clipped at norm 1"].write(numbers[0], 300, np.random.default_rng(0))
    print(f"\nThe clipped network writes:\n{''.join(alphabet[written])}")


if __name__ == "__main__":
    # BLAS on one thread: on products as small as these its threads mostly wait for one another.
    with threadpool_limits(1, user_api="blas"):
        main()
