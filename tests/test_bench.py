"""The bench: what it measures is the same work for all, and what it prints is what it measured."""

import numpy as np
import pytest

import gnumba as gn
from gnumba import _bench
from gnumba.__main__ import main

SMALL = "4 arrays, 2.4k"


@pytest.mark.parametrize("optimizer", _bench.OPTIMIZERS)
def test_numpy_does_the_same_work(optimizer):
    """Its formulas are gnumba's; its bias corrections stay those of the first step."""
    update, states = _bench.NUMPY[optimizer]
    theirs = np.random.default_rng(0).standard_normal(100)
    ours, g = theirs.copy(), np.full(100, 0.5)
    getattr(gn, optimizer)(ours, **_bench.OPTIMIZERS[optimizer][0]).step(g)
    update(theirs, g, *(np.zeros(100) for _ in range(states)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_every_optimizer_is_measured():
    """By every contender, and the arrays that a step moves are counted."""
    assert set(_bench.OPTIMIZERS) == set(_bench.NUMPY)
    for name, (options, moved) in _bench.OPTIMIZERS.items():
        rule = getattr(gn, name)(np.zeros(1), **options).rule
        assert moved == len(rule.reads) + len(rule.writes)


def test_a_table_and_a_plot(tmp_path, monkeypatch, capsys):
    """One row, a ratio for each library that is here; a picture."""
    monkeypatch.setattr(_bench, "probe", lambda: 1e10)
    measured = []

    def rounds(count, contenders, what):
        for contender in contenders:
            measured.append(contender)
            yield 0, contender, _bench.measure(contender, *what)

    monkeypatch.setattr(_bench, "rounds", rounds)
    monkeypatch.setattr(_bench, "present", lambda: ["gnumba", "NumPy"])
    path = tmp_path / "ratios.png"
    assert main(["bench", "--optimizer", "Adam", "--model", SMALL, "--rounds", "1", "--plot", str(path)]) == 0
    assert measured == ["gnumba", "NumPy"]
    shown = capsys.readouterr().out
    assert f"{SMALL}   Adam" in shown
    assert shown.split(SMALL)[0].split()[-2] == "NumPy"  # the last heading, over a rule
    assert path.stat().st_size > 5_000


def test_a_process_of_its_own():
    """What a worker prints is what the bench reads."""
    ((_, contender, found),) = _bench.rounds(1, ["NumPy"], (["SGD"], [SMALL]))
    assert contender == "NumPy"
    assert list(found) == [f"SGD/{SMALL}"]
    assert found[f"SGD/{SMALL}"] > 0
