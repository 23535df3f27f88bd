"""The bench: what it measures is the same work for all, and what it prints is what it measured."""

import numpy as np
import pytest

import gnumba as gn
from gnumba import _bench, _contenders
from gnumba.__main__ import main
from gnumba._contenders import Work

SMALL = "4 arrays, 2.4k"


@pytest.mark.parametrize("optimizer", _contenders.OPTIMIZERS)
def test_numpy_does_the_same_work(optimizer):
    """Its formulas are gnumba's; its bias corrections stay those of the first step."""
    update, states = _contenders.NUMPY_STEPS[optimizer]
    theirs = np.random.default_rng(0).standard_normal(100)
    ours, g = theirs.copy(), np.full(100, 0.5)
    getattr(gn, optimizer)(ours, **_contenders.OPTIMIZERS[optimizer][0]).step(g)
    update(theirs, g, *(np.zeros(100) for _ in range(states)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("direction", _contenders.DIRECTIONS)
@pytest.mark.parametrize("name", _contenders.ACTIVATIONS)
@pytest.mark.parametrize("contender", ["NumPy", "PyTorch", "optax"])
def test_all_do_the_same_activation(request, contender, name, direction):
    """Each writes, or returns, what gnumba writes into ``out``."""
    module = pytest.importorskip(_contenders.CONTENDERS[contender].module)
    if contender == "PyTorch":
        request.addfinalizer(lambda: module.set_grad_enabled(True))  # it turns autograd off
    found = []
    for who in ("gnumba", contender):
        call = _contenders.CONTENDERS[who].activation(name, direction == "forward", 1000)
        found.append(result_of(call))
    np.testing.assert_allclose(*found, rtol=2e-5, atol=1e-6)


def result_of(call):
    """What a call returns, the first if several, or the array of its closure that it writes to."""
    made = call()
    if made is None:  # np.copyto(y, …)
        names = dict(zip(call.__code__.co_freevars, (c.cell_contents for c in call.__closure__), strict=True))
        return names["y"]
    if isinstance(made, (tuple, list)):
        made = made[0]
    return np.asarray(made)


def test_every_optimizer_is_measured():
    """By every contender, and the arrays that a step moves are counted."""
    assert set(_contenders.OPTIMIZERS) == set(_contenders.NUMPY_STEPS)
    for name, (options, moved) in _contenders.OPTIMIZERS.items():
        rule = getattr(gn, name)(np.zeros(1), **options).rule
        assert moved == len(rule.reads) + len(rule.writes)
    assert set(_contenders.ACTIVATIONS) == set(_contenders.NUMPY_ACTIVATIONS)
    assert Work("Adam", "1 array, 30M").nbytes == 30e6 * 4 * 7
    assert Work("relu", "1e5 elements", "backward").nbytes == 1e5 * 4 * 3


def test_tables_and_a_plot(tmp_path, monkeypatch, capsys):
    """One row a work, a ratio for each library that is here; a picture."""
    monkeypatch.setattr(_bench, "probe", lambda: 1e10)
    measured = []

    def rounds(count, contenders, works):
        for contender in contenders:
            measured.append(contender)
            yield contender, _bench.measure(contender, works)

    monkeypatch.setattr(_bench, "rounds", rounds)
    monkeypatch.setattr(_bench, "present", lambda: ["gnumba", "NumPy"])
    path = tmp_path / "ratios.png"
    chosen = ["--optimizer", "Adam", "--model", SMALL, "--activation", "relu", "--size", "1e3 elements"]
    assert main(["bench", *chosen, "--rounds", "1", "--plot", str(path)]) == 0
    assert measured == ["gnumba", "NumPy"]
    steps, activations = capsys.readouterr().out.split("Activations:")
    for shown, on, label in ((steps, SMALL, "Adam"), (activations, "1e3 elements", "relu backward")):
        lines = [line.split() for line in shown.splitlines()]
        assert ["gnumba", "memory", "NumPy"] in lines
        assert on.split() in lines
        assert any(line[: len(label.split())] == label.split() for line in lines)
        assert any(line[:2] == ["geometric", "mean"] and float(line[2]) > 0 for line in lines)
    assert path.stat().st_size > 5_000


def test_a_ratio_is_of_the_same_round():
    """The median of the rounds' ratios, not the ratio of medians; the share likewise."""
    work = Work("Adam", SMALL)
    times = {
        "gnumba": {work: [1.0, 4.0, 3.0], _bench.PROBE: [1e-6, 1e-5, 1e-6]},
        "NumPy": {work: [2.0, 5.0, 30.0]},
    }
    assert _bench.ratio(times, "NumPy", work) == 0.5
    assert _bench.share(times, work) == pytest.approx(work.nbytes * 1e-6 / 1.0)


def test_a_process_of_its_own():
    """What a worker prints is what the bench reads; gnumba's ends with the probe."""
    work = Work("SGD", SMALL)
    ((contender, found),) = _bench.rounds(1, ["NumPy"], [work])
    assert contender == "NumPy"
    assert len(found) == 1
    assert found[0] > 0


def test_a_contender_that_fails_says_so():
    """With the end of what it wrote."""
    with pytest.raises(RuntimeError, match=r"(?s)NumPy failed:.*no such optimizer"):
        list(_bench.rounds(1, ["NumPy"], [Work("no such optimizer", SMALL)]))
