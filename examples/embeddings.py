"""Word vectors by AdaGrad, whose steps touch only the rows of the words at hand.

pip install ".[demo]"
python examples/embeddings.py

The text is the King James Bible where Debian's `bible` is installed (apt install bible-kjv), otherwise
the documentation inside NumPy, SciPy and scikit-learn as they are installed here. Skip-gram with negative
sampling: Mikolov et al. 2013, arXiv:1310.4546. AdaGrad: Duchi et al. 2011.
"""

import argparse
import ast
import re
import shutil
import subprocess
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import scipy
import sklearn
from threadpoolctl import threadpool_limits

import gnumba as gn

SIZE, WINDOW, BATCH = 64, 3, 1024  # numbers a vector; how far neighbours may stand; pairs a step
NEGATIVES, WEIGHT = 32, 5.0  # random words, which a whole batch shares; how many of them a pair counts for
RARE, OFTEN = 5, 5e-5  # words seen less often are left out, those above this share are thinned out


def read_words():
    """The words of a real text, its name, and some of them whose neighbours are worth a look."""
    if bible := shutil.which("bible"):
        verses = subprocess.run([bible, "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True)
        text = re.sub(r"^\S+ ", "", verses.stdout, flags=re.MULTILINE)  # each line begins with its number
        asked = ["father", "egypt", "silver", "wine", "sheep", "three", "heart", "sword"]
        return words_of(text), "the Bible, King James Version", asked
    print("No program `bible` here (apt install bible-kjv): the documentation of Python packages instead.")
    text = "\n".join(chain.from_iterable(map(docstrings, (np, scipy, sklearn))))
    asked = ["sine", "median", "rows", "float", "minimum", "normal", "polynomial", "tree"]
    return words_of(text), "the docstrings of NumPy, SciPy and scikit-learn", asked


def docstrings(package):
    """Docstrings of a package's modules, classes and functions."""
    for path in sorted(Path(package.__file__).parent.rglob("*.py")):
        if "tests" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    yield ast.get_docstring(node) or ""


def words_of(text):
    """Runs of at least two letters, in small letters."""
    return re.findall(r"[a-z]{2,}", text.lower())


def numbered(words):
    """The text as numbers of words, the vocabulary, and how often the text has each of it."""
    counts = Counter(words)
    vocabulary = [word for word, count in counts.most_common() if count >= RARE]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    text = np.array([numbers[word] for word in words if word in numbers])
    return text, vocabulary, np.bincount(text)


def pairs(text, counts, rng):
    """Every word beside each of its neighbours; frequent words are thinned out first."""
    share = counts / len(text)
    text = text[rng.random(len(text)) < np.sqrt(OFTEN / share[text])]
    left = np.concatenate([text[:-k] for k in range(1, WINDOW + 1)])
    right = np.concatenate([text[k:] for k in range(1, WINDOW + 1)])
    return np.concatenate([left, right]), np.concatenate([right, left])


class Vectors:
    """A vector for each word, and one for it as a neighbour: σ(word · neighbour) says that they meet."""

    def __init__(self, counts, seed, dtype=np.float32):
        self.rng = np.random.default_rng(seed)
        shape = len(counts), SIZE
        self.params = {
            "words": gn.init.uniform(shape, -0.5 / SIZE, 0.5 / SIZE, rng=self.rng, dtype=dtype),
            "neighbours": np.zeros(shape, dtype),
        }
        self.share = np.cumsum(counts**0.75) / np.sum(counts**0.75)  # of the words up to each, as drawn

    def draw(self):
        """Words that most likely are no neighbours."""
        return np.searchsorted(self.share, self.rng.random(NEGATIVES) * self.share[-1])

    def loss_and_gradients(self, words, neighbours, negatives):
        """The mean loss of pairs, each against the negatives, and its sum's gradients: rows.

        A sum, since AdaGrad's steps hardly depend on how large gradients are, if they are above its ε.
        """
        p = self.params
        w, o, n = p["words"][words], p["neighbours"][neighbours], p["neighbours"][negatives]
        meet, miss = np.vecdot(w, o), w @ n.T
        loss = np.logaddexp(0, -meet).mean() + WEIGHT * np.logaddexp(0, miss).mean()
        dmeet = (gn.sigmoid(meet) - 1)[:, None]
        dmiss = gn.sigmoid(miss, out=miss)
        dmiss *= WEIGHT / len(negatives)
        rows = np.concatenate([neighbours, negatives])
        return float(loss), {
            "words": gn.Rows(words, dmeet * o + dmiss @ n),
            "neighbours": gn.Rows(rows, np.concatenate([dmeet * w, dmiss.T @ w])),
        }

    def nearest(self, word, count):
        """The words with the smallest angles to one, that one left out."""
        unit = self.params["words"] / np.linalg.norm(self.params["words"], axis=1, keepdims=True)
        return np.argsort(-(unit @ unit[word]))[1 : count + 1]


def step_times(grads, words):
    """Seconds of AdaGrad's step on tables of so many words: by rows, dense, making the dense gradients."""
    optimizer = gn.AdaGrad(tables(words), lr=0.2)
    dense = summed(grads, words)
    works = (lambda: optimizer.step(grads), lambda: optimizer.step(dense), lambda: summed(grads, words))
    return [median_time(work) for work in works]


def tables(words):
    """Arrays like the vectors of so many words."""
    return {name: np.zeros((words, SIZE), np.float32) for name in ("words", "neighbours")}


def summed(grads, words):
    """Gradients by rows as whole arrays."""
    dense = tables(words)
    for name, rows in grads.items():
        np.add.at(dense[name], rows.indices, rows.values)
    return dense


def median_time(work, repeats=30):
    """Seconds that a call takes."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return np.median(seconds)


def main():
    """Train, print the nearest words of some, and what a step costs by rows and dense."""
    parser = argparse.ArgumentParser(description="Learn word vectors with AdaGrad on single rows.")
    parser.add_argument("--epochs", type=int, default=10, help="rounds over the text; default: 10")
    epochs = parser.parse_args().epochs

    words, name, asked = read_words()
    text, vocabulary, counts = numbered(words)
    print(f"{len(text):,} words of {name}, {len(vocabulary):,} different ones")
    rng = np.random.default_rng(0)
    vectors = Vectors(counts, seed=0)
    optimizer = gn.AdaGrad(vectors.params, lr=0.2)
    for epoch in range(1, epochs + 1):
        losses = []
        for batch in gn.minibatches(*pairs(text, counts, rng), batch_size=BATCH, rng=rng, drop_last=True):
            loss, grads = vectors.loss_and_gradients(*batch, vectors.draw())
            optimizer.step(grads)
            losses.append(loss)
        print(f"epoch {epoch}  {len(losses):,} steps  loss {np.mean(losses):.4f}")

    print("nearest words:")
    for word in asked:
        nearest = vectors.nearest(vocabulary.index(word), 6)
        print(f"  {word:12}", *(vocabulary[number] for number in nearest))

    touched = np.mean([len(np.unique(rows.indices)) for rows in grads.values()])
    print(f"a step touches about {touched:.0f} rows of each table; milliseconds it takes:")
    for count in (len(vocabulary), 10 * len(vocabulary)):
        rows, dense, making = (1e3 * seconds for seconds in step_times(grads, count))
        print(
            f"  {count:7,} words  by rows {rows:.2f}  dense {dense:.2f} and {making:.2f} to make the gradient"
        )


if __name__ == "__main__":
    # BLAS on one thread: on products as small as these its threads mostly wait for one another.
    with threadpool_limits(1, user_api="blas"):
        main()
