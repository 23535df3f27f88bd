"""The examples: their gradients by finite differences, their claims in small, and whether they run."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import gnumba as gn

pytest.importorskip("sklearn", reason="the demo's extra is not installed")
threadpoolctl = pytest.importorskip("threadpoolctl")
image = pytest.importorskip("matplotlib.image")

EXAMPLES = Path(__file__).parents[1] / "examples"


def loaded(name):
    """An example as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rnn():
    return loaded("clipped_rnn")


@pytest.fixture(scope="module")
def words():
    return loaded("embeddings")


@pytest.fixture(scope="module")
def deep():
    return loaded("deep_selu")


@pytest.fixture(scope="module")
def phases():
    return loaded("adam_then_sgd")


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread():
    """As in the examples: where other work is running, BLAS threads wait for one another."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def check_gradients(loss, params, grads, rng, h=1e-6):
    """Slopes of the loss along a random direction of each parameter are what the gradients say."""
    for k, (p, g) in enumerate(zip(params, grads, strict=True)):
        dense = np.zeros_like(p)
        if isinstance(g, gn.Rows):
            np.add.at(dense, g.indices, g.values)
        else:
            dense += g
        direction, start = rng.standard_normal(p.shape), p.copy()
        p[...] = start + h * direction
        above = loss()
        p[...] = start - h * direction
        below = loss()
        p[...] = start
        slope = np.sum(dense * direction)
        assert abs(slope) > 1e-6, k
        np.testing.assert_allclose((above - below) / (2 * h), slope, rtol=1e-5, err_msg=str(k))


def run(module, monkeypatch, *options):
    """Run an example as ``python examples/….py --epochs 1`` does."""
    monkeypatch.setattr(sys, "argv", [module.__file__, "--epochs", "1", *map(str, options)])
    module.main()


def check_picture(path):
    """Something is drawn on white."""
    pixels = image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 500
    assert 0.5 < np.mean(pixels == 1) < 0.99


@pytest.fixture
def bible(monkeypatch, tmp_path):
    """Debian's program, as far as the examples need it."""
    if os.name == "nt":
        pytest.skip("the program is a shell script")
    program = tmp_path / "bible"
    program.write_text("#!/bin/sh\necho 'Ge1:1 In the beginning'\necho 'Ge1:2 And the earth'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


# clipped_rnn


def test_recurrent_gradients(rnn, rng):
    """Through time, from a state that is not zero."""
    network = rnn.Network(7, seed=0, dtype=np.float64)
    text, following = rng.integers(0, 7, (2, 5, 3))
    h = rng.uniform(-1, 1, (3, rnn.UNITS))
    _, grads, _ = network.loss_and_gradients(text, following, h)
    params = network.params.values()
    check_gradients(lambda: network.loss_and_gradients(text, following, h)[0], params, grads.values(), rng)


def test_recurrent_state_goes_on(rnn, rng):
    """A text read in two parts is the text read at once."""
    network = rnn.Network(7, seed=0, dtype=np.float64)
    text, h = rng.integers(0, 7, (6, 3)), np.zeros((3, rnn.UNITS))
    states, logits = network.forward(text, h)
    first, _ = network.forward(text[:2], h)
    second, logits_second = network.forward(text[2:], first[-1])
    np.testing.assert_allclose(second, states[2:], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(logits_second, logits[2:], rtol=1e-12, atol=1e-14)


def test_clipping_is_what_keeps_the_rate_usable(rnn, monkeypatch):
    """A fifth of the text is enough to see it."""
    monkeypatch.setenv("PATH", "")
    text = np.unique(list(rnn.read_text()[0][:100_000]), return_inverse=True)[1]

    def course(run):
        return rnn.train(rnn.Network(text.max() + 1, seed=0), text, 2, **rnn.RUNS[run])

    clipped, norms = course("clipped at norm 1")
    free, free_norms = course("not clipped")
    tenth = len(clipped) // 10
    assert clipped[-tenth:].mean() < 3.2 < 4.5 < free[-tenth:].mean()
    assert norms.max() > 1.0  # it is the norm before clipping
    assert np.median(free_norms) > 2 * np.median(norms)


def test_text_of_the_bible(rnn, bible):
    text, name = rnn.read_text()
    assert text == "Ge1:1 In the beginning\nGe1:2 And the earth\n"
    assert "Bible" in name


def test_recurrent_example_runs(rnn, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", "")
    text, name = rnn.read_text()
    assert len(text) > 100_000
    monkeypatch.setattr(rnn, "read_text", lambda: (text[:50_000], name))
    run(rnn, monkeypatch, "--out", tmp_path / "rnn.png")
    out = capsys.readouterr().out
    assert all(line in out for line in rnn.RUNS)
    assert len(out.partition("writes:\n")[2]) >= 301
    check_picture(tmp_path / "rnn.png")


# embeddings


def test_vectors_gradients(words, rng):
    """With words that are in the batch several times, as word, neighbour and negative."""
    vectors = words.Vectors(np.array([9.0, 5.0, 3.0, 2.0, 1.0]), seed=0, dtype=np.float64)
    vectors.params["neighbours"][...] = rng.standard_normal((5, words.SIZE))
    batch = np.array([0, 1, 1, 4]), np.array([2, 0, 1, 1]), np.array([3, 0, 3])

    def loss():
        return len(batch[0]) * vectors.loss_and_gradients(*batch)[0]

    _, grads = vectors.loss_and_gradients(*batch)
    check_gradients(loss, vectors.params.values(), grads.values(), rng)


def test_pairs_are_neighbours_both_ways(words, rng, monkeypatch):
    monkeypatch.setattr(words, "OFTEN", 1.0)  # nothing is thinned out
    text = np.arange(6)
    made = sorted(zip(*words.pairs(text, np.ones(6), rng), strict=True))
    window = words.WINDOW
    assert made == [(a, b) for a in range(6) for b in range(6) if 0 < abs(a - b) <= window]


def test_frequent_words_are_thinned_out(words, rng):
    """A word of share s stays with probability √(OFTEN / s)."""
    counts = np.array([90_000, 10_000])
    text = rng.permutation(np.repeat([0, 1], counts))
    made, _ = words.pairs(text, counts, rng)
    kept = np.bincount(made) / (2 * words.WINDOW)
    np.testing.assert_allclose(kept, counts * np.sqrt(words.OFTEN / (counts / 100_000)), rtol=0.15)


def test_negatives_are_drawn_by_frequency(words):
    counts = np.array([81.0, 16.0, 1.0])
    vectors = words.Vectors(counts, seed=0)
    drawn = np.bincount(np.concatenate([vectors.draw() for _ in range(2000)]), minlength=3)
    np.testing.assert_allclose(drawn / drawn.sum(), np.array([27, 8, 1]) / 36, atol=0.01)


def test_words_that_stand_alike_come_near(words, rng):
    """Two kinds of words, each beside words of its own: the nearest is of the same kind."""
    kinds = np.array([[0, 1, 2, 3, 8, 9], [4, 5, 6, 7, 10, 11]])
    text = np.concatenate([rng.choice(kinds[rng.integers(2)], 20) for _ in range(500)])
    vectors = words.Vectors(np.bincount(text), seed=0)
    optimizer = gn.AdaGrad(vectors.params, lr=0.2)
    left, right = text[:-1], text[1:]
    for batch in gn.minibatches(left, right, batch_size=100, rng=0):
        optimizer.step(vectors.loss_and_gradients(*batch, vectors.draw())[1])
    for kind in kinds:
        assert all(vectors.nearest(word, 1)[0] in kind for word in kind)


def test_words_of_texts(words, bible):
    assert words.read_words()[0] == ["in", "the", "beginning", "and", "the", "earth"]
    text, vocabulary, counts = words.numbered(["rare"] + 5 * ["two", "words"] + ["two"])
    assert vocabulary == ["two", "words"]
    assert counts.tolist() == [6, 5]
    assert text.tolist() == 5 * [0, 1] + [0]


def test_word_example_runs(words, monkeypatch, capsys):
    """On NumPy's own documentation."""
    corpus = words.words_of("\n".join(words.docstrings(np)))
    assert len(corpus) > 50_000
    monkeypatch.setattr(words, "read_words", lambda: (corpus, "NumPy", ["array", "float"]))
    run(words, monkeypatch)
    out = capsys.readouterr().out
    assert "epoch 1" in out
    assert "\n  array " in out
    assert out.count("by rows") == 2


# deep_selu


@pytest.mark.parametrize("kind", ["SELU, LeCun, alpha dropout", "ReLU, He, dropout", "ReLU, He"])
def test_deep_gradients(deep, kind, rng):
    """The mask of a step is the same forward and backward."""
    made = deep.KINDS[kind]
    network = deep.Network(made, 6, seed=0, depth=4, width=12, dtype=np.float64)
    x, labels = rng.standard_normal((9, 6)), rng.integers(0, 10, 9)
    rate = 0.2 if made.dropout else 0.0
    _, grads = network.loss_and_gradients(x, labels, rate, step=3)
    params = network.weights + network.biases
    check_gradients(lambda: network.loss_and_gradients(x, labels, rate, step=3)[0], params, grads, rng)


@pytest.fixture(scope="module")
def born(deep):
    """Mean and variance of each unit of each layer, by kind."""
    x = deep.load_data()[0]
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(x.var(axis=0), 1.0, rtol=1e-3)
    return {name: deep.statistics(kind, x) for name, kind in deep.KINDS.items()}


@pytest.mark.parametrize("kind", ["SELU, LeCun", "SELU, LeCun, alpha dropout"])
def test_selu_keeps_mean_and_variance_through_64_layers(born, kind):
    mean, variance = (values.mean(axis=1) for values in born[kind])
    assert len(mean) == 64
    assert np.abs(mean).max() < 0.1
    assert 0.8 < variance.min() <= variance.max() < 1.2


def test_relu_does_not(born):
    """With He's weights images become alike, with dropout they grow, with LeCun's weights they vanish."""
    last = {name: variance[-1].mean() for name, (_, variance) in born.items()}
    assert last["ReLU, He"] < 0.1
    assert last["ReLU, He, dropout"] > 50
    assert last["ReLU, LeCun"] < 1e-15


def test_deep_example_runs(deep, monkeypatch, capsys, tmp_path):
    run(deep, monkeypatch, "--out", tmp_path / "deep.png")
    out = capsys.readouterr().out
    assert all(line in out for line in deep.KINDS)
    check_picture(tmp_path / "deep.png")


# adam_then_sgd


def test_sigmoid_network_gradients(phases, rng):
    network = phases.Network(seed=0)
    network.weights, network.biases = (
        [p.astype(np.float64) for p in ps] for ps in (network.weights, network.biases)
    )
    x, labels = rng.standard_normal((9, 64)), rng.integers(0, 10, 9)
    grads = network.gradients(x, labels)
    params = network.weights + network.biases
    check_gradients(lambda: network.judge(x, labels)[0], params, grads, rng)


@pytest.mark.parametrize("way", ["Adam, then SGD", "Adam, then Momentum", "cold start"])
def test_plans_switch_and_learn(phases, way):
    """After five epochs, all of them."""
    losses, accuracies, begun = zip(*phases.train(*phases.WAYS[way], seed=0, epochs=8), strict=True)
    assert begun == (0,) * 5 + (1,) * 3
    assert losses[-1] < 0.2 * losses[0]
    assert accuracies[-1] > 0.9


def test_plan_switches_when_the_loss_rises(phases):
    losses, _, begun = zip(*phases.train(*phases.WAYS["RMSProp, then SGD"], seed=0, epochs=30), strict=True)
    first = begun.index(1)
    rises = [epoch for epoch in range(1, 30) if losses[epoch] > min(losses[:epoch])]
    assert first == rises[0] + 1


def test_phases_example_runs(phases, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(phases, "SEEDS", range(2))
    run(phases, monkeypatch, "--out", tmp_path / "phases.png")
    out = capsys.readouterr().out
    assert all(line in out for line in phases.WAYS)
    check_picture(tmp_path / "phases.png")


# distributed_digits


def test_distributed_gradients(rng):
    module = loaded("distributed_digits")
    shapes = {"W1": (64, 12), "b1": 12, "W2": (12, 9), "b2": 9, "W3": (9, 10), "b3": 10}
    params = {name: rng.standard_normal(shape) / 3 for name, shape in shapes.items()}
    x, labels = rng.standard_normal((8, 64)), rng.integers(0, 10, 8)

    def loss():
        return gn.losses.softmax_cross_entropy(module.forward(params, x)[-1], labels)[0]

    grads = module.gradients(params, x, labels)
    assert grads.keys() == params.keys()
    check_gradients(loss, params.values(), grads.values(), rng)


def test_distributed_example_runs_alone(monkeypatch, capsys):
    module = loaded("distributed_digits")
    monkeypatch.setattr(module, "COMM", "self")
    run(module, monkeypatch)
    out = capsys.readouterr().out
    assert "on 1 rank\n" in out
    assert "test accuracy 0.9" in out
