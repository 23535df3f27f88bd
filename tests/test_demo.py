"""The command line, the demo and the example: real data, real training."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gnumba as gn
from gnumba.__main__ import main
from gnumba._cli import demo

pytest.importorskip("sklearn", reason="the demo's extra is not installed")
threadpoolctl = pytest.importorskip("threadpoolctl")
image = pytest.importorskip("matplotlib.image")
pytest.importorskip("tqdm")
pytest.importorskip("rich")

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gn.__file__).parents[1])}
OPTIMIZERS = ["SGD", "Momentum", "AdaGrad", "RMSProp", "Adam", "AdamW"]
ACTIVATIONS = ["sigmoid", "tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "silu"]


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread():
    """As in the demo: where other work is running, BLAS threads wait for one another."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module")
def data():
    return demo.load_data(seed=0)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Output of the demo with its defaults, on both streams, and the picture drawn."""
    folder = tmp_path_factory.mktemp("demo")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["demo", "--out", str(folder)]) == 0
    (picture,) = folder.iterdir()
    return out.getvalue(), err.getvalue(), picture


def rows(text):
    """The table's rows by optimizer."""
    lines = [line.split() for line in text.splitlines()]
    return {fields[0]: fields[1:] for fields in lines if fields and fields[0] in OPTIMIZERS}


# The demo as it runs by default.


def test_all_optimizers_learn_the_digits(shown):
    table = rows(shown[0])
    assert list(table) == OPTIMIZERS
    accuracy = {name: float(fields[3]) for name, fields in table.items()}
    assert accuracy["Adam"] >= 0.97
    assert min(accuracy.values()) >= 0.95
    assert all(float(fields[4]) < 0.1 for fields in table.values())
    assert all(float(fields[5].replace(",", "")) > 0 for fields in table.values())


def test_optimizers_differ_in_the_steps_they_take(shown):
    """The median to 97 %, and from the least to the most of three seeds."""
    medians = {}
    for name, (_, median, between, *_) in rows(shown[0]).items():
        least, most = between.strip("()").split("–")
        medians[name] = float("inf" if median == "never" else median)
        assert float(least) <= medians[name] <= float("inf" if most == "never" else most)
    assert max(medians.values()) >= 1.5 * min(medians.values())


def test_a_goal_that_is_not_reached_is_never():
    assert demo.spread([30.0, 10.0, 20.0]) == "20 (10–30)"
    assert demo.spread([30.0, np.inf, np.inf]) == "never (30–never)"
    assert demo.spread([np.inf]) == "never"


def test_steps_are_counted_to_the_first_time(data):
    losses, checked = np.ones(40), np.array([10, 20, 30, 40])
    trial = demo.Trial(0.1, losses, checked, np.array([0.5, 0.97, 0.96, 0.99]), 1.0, np.empty(0))
    assert trial.reached == 20
    assert demo.Trial(0.1, losses, checked, np.full(4, 0.9), 1.0, np.empty(0)).reached == np.inf


def test_progress_is_shown(shown):
    assert "100%" in shown[1]


def test_the_bar_ticks_while_compiling(data):
    """Once for the activation and once an optimizer, each named before it is compiled."""

    class Bar:
        def __init__(self):
            self.said = []

        def set_description(self, text):
            self.said.append(text)

        def update(self):
            self.said.append("tick")

    bar = Bar()
    demo.compile_kernels(["SGD", "Adam"], data, demo.Options(activation="tanh"), bar)
    described = ["compiling tanh", "compiling SGD", "compiling Adam"]
    assert bar.said == [word for text in described for word in (text, "tick")]


def test_picture_is_drawn_and_its_path_printed(shown):
    out, _, picture = shown
    assert str(picture) in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    pixels = image.imread(picture)[..., :3]
    assert pixels.shape == (750, 1200, 3)
    assert 0.5 < pixels.mean() < 0.99  # not blank
    for colour in demo.COLOURS:  # every optimizer's curve can be seen
        rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        assert (np.abs(pixels - rgb).max(axis=2) < 0.01).sum() > 500


def test_every_option_is_heard(tmp_path, capsys):
    picture = tmp_path / "curves.png"
    names = ["--optimizer", "AdamW", "--activation", "prelu"]
    numbers = ["--epochs", "2", "--batch-size", "100", "--seed", "3", "--seeds", "2"]
    assert main(["demo", *names, *numbers, "--out", str(picture)]) == 0
    out = capsys.readouterr().out
    assert list(rows(out)) == ["AdamW"]
    assert "prelu" in out
    assert "epochs: 2, batch size: 100" in out
    assert "medians of 2 seeds" in out
    assert picture.stat().st_size > 10_000


# Data, network, training.


def test_training_and_test_images_are_apart(data):
    both = np.concatenate([data.x, data.test_x])
    assert len(both) == 1797
    assert len(np.unique(both, axis=0)) == 1797
    assert data.x.dtype == data.test_x.dtype == np.float32


def test_split_is_stratified_and_scaled_by_the_training_images(data):
    share = np.bincount(data.test_labels) / (np.bincount(data.labels) + np.bincount(data.test_labels))
    np.testing.assert_allclose(share, 0.25, atol=0.01)
    np.testing.assert_allclose(data.x.mean(axis=0), 0.0, atol=1e-5)
    assert np.abs(data.test_x.mean(axis=0)).max() > 0.01


@pytest.mark.parametrize("activation", ["tanh", "prelu"])  # without and with a slope to learn
def test_backward_is_the_derivative_of_forward(activation, data, rng):
    network = demo.Network(activation, seed=0)
    for params in (network.weights, network.slopes):
        params.update({name: p.astype(np.float64) + 0.01 for name, p in params.items()})
    x, labels = data.x[:20].astype(np.float64), data.labels[:20]
    _, gradients = network.loss_and_gradients(x, labels)
    assert len(gradients) == len(network.groups())

    for group, grads in zip(network.groups(), gradients, strict=True):
        assert grads.keys() == group["params"].keys()
        for name, p in group["params"].items():
            direction, start, h = rng.standard_normal(p.shape), p.copy(), 1e-6
            p[...] = start + h * direction
            above, _ = network.loss_and_gradients(x, labels)
            p[...] = start - h * direction
            below, _ = network.loss_and_gradients(x, labels)
            p[...] = start
            slope = np.sum(grads[name] * direction)
            np.testing.assert_allclose((above - below) / (2 * h), slope, rtol=1e-5, atol=1e-7, err_msg=name)


def test_parameters_and_gradients_are_float32(data):
    network = demo.Network("prelu", seed=0)
    _, gradients = network.loss_and_gradients(data.x[:8], data.labels[:8])
    arrays = [a for table in (network.weights, network.slopes, *gradients) for a in table.values()]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


def test_slopes_of_prelu_are_learned_and_not_decayed(data):
    network = demo.Network("prelu", seed=0)
    optimizer = demo.make_optimizer("AdamW", network, batch_size=64)
    decay = {group["name"]: group["weight_decay"] for group in optimizer.groups}
    assert decay == {"weights": 0.05, "slopes": 0.0}
    next(demo.train(network, optimizer, data, demo.Options(), seed=0))  # one step
    assert all((slope != 0.25).any() for slope in network.slopes.values())


def test_slopes_learned_are_shown(tmp_path, capsys):
    options = ["--optimizer", "AdamW", "--activation", "prelu", "--epochs", "2", "--out", str(tmp_path)]
    assert main(["demo", *options]) == 0
    out = capsys.readouterr().out
    assert "slopes α" in out
    low, high = map(float, rows(out)["AdamW"][-1].split("–"))
    assert 0.0 < low < 0.25 < high < 0.5


def trained(optimizer, data, **options):
    """A network, and the losses of its training."""
    chosen = demo.Options(**options)
    network = demo.Network(chosen.activation, chosen.seed)
    made = demo.make_optimizer(optimizer, network, chosen.batch_size)
    return network, list(demo.train(network, made, data, chosen, chosen.seed))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_trains(activation, data):
    network, losses = trained("Adam", data, activation=activation, epochs=4)
    assert np.mean(losses[-10:]) < 0.4 * losses[0]
    assert network.accuracy(data.test_x, data.test_labels) > 0.85


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("batch_size", "epochs", "steps"), [(1, 1, 1347), (5000, 20, 20)])
def test_one_image_a_batch_trains_and_so_do_all(optimizer, batch_size, epochs, steps, data):
    _, losses = trained(optimizer, data, activation="selu", batch_size=batch_size, epochs=epochs)
    assert len(losses) == steps
    tenth = steps // 10
    assert np.mean(losses[-tenth:]) < 0.8 * np.mean(losses[:tenth])


def test_batches_hold_every_row_once(rng):
    made = demo.batches(1347, 64, rng)
    assert sorted(np.concatenate(made)) == list(range(1347))
    assert {len(rows) for rows in made} == {61, 62}


def test_same_seed_same_result(tmp_path, capsys):
    def result(seed):
        options = ["--optimizer", "SGD", "--epochs", "1", "--seed", seed, "--seeds", "1"]
        assert main(["demo", *options, "--out", str(tmp_path)]) == 0
        return rows(capsys.readouterr().out)["SGD"][:-1]  # without the steps a second

    first = result("5")
    assert result("5") == first
    assert result("6") != first


# The command line.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--epochs", "0"], "'0', expected a whole number from 1"),
        (["--epochs", "many"], "'many', expected a whole number from 1"),
        (["--batch-size", "0"], "'0', expected a whole number from 1"),
        (["--batch-size", "-1"], "'-1', expected a whole number from 1"),
        (["--seed", "0.5"], "'0.5', expected a whole number from 0"),
        (["--seeds", "0"], "'0', expected a whole number from 1"),
        (["--optimizer", "Lion"], "'Lion' (choose from"),
        (["--activation", "step"], "'step' (choose from"),
        (["--out", "missing/curves.png"], "there is no folder 'missing'"),
        (["--out", "missing"], "'missing', expected a folder that exists, or a file that ends in .png"),
        (["--out", "curves.pdf"], "'curves.pdf', expected a folder that exists"),
    ],
)
def test_wrong_options_are_refused_before_training(options, expected, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("trained"))
    with pytest.raises(SystemExit) as stopped:
        main(["demo", *options])
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_missing_package_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("trained"))
    assert main(["demo"]) == 1
    err = capsys.readouterr().err
    assert err == 'The demo needs rich, not installed here: pip install "gnumba[demo]"\n'


def test_info_prints_what_is_known(capsys):
    assert main(["info"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    shown = dict(line for line in lines if len(line) == 2)
    known = gn.info()
    assert shown["threads"] == str(known["threads"])
    assert shown["numpy"] == np.__version__
    assert shown.keys() >= known.keys() - {"versions"}


def test_help_and_version(capsys):
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"gnumba {gn.__version__}\n"


def test_interrupt_ends_quietly(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="pipes close differently")
@pytest.mark.parametrize("command", [[], ["info"]])
def test_closed_pipe_ends_quietly(command):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "gnumba", *command], stdout=closed, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
    assert ended.stderr == b""


def test_example_runs_as_a_script(tmp_path):
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "digits.py", "--epochs", "2"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    *losses, last = ended.stdout.splitlines()
    assert len(losses) == 2
    assert float(last.removeprefix("test accuracy ")) > 0.9
