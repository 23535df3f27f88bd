"""The bench: what it measures is the same work for all, and what it prints is what it measured."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gnumba as gn
from gnumba.__main__ import main
from gnumba._cli import bench, contenders
from gnumba._cli.contenders import CONTENDERS, Work, with_torch

SMALL = "4 arrays, 2.4k"
PEERS = [name for name in CONTENDERS if name != "gnumba"]


@pytest.fixture(params=PEERS)
def peer(request):
    """A contender that is installed."""
    made = CONTENDERS[request.param]
    module = pytest.importorskip(made.module)
    yield made
    if request.param == "PyTorch":
        module.set_grad_enabled(True)  # activations turn autograd off


# The same work.


@pytest.mark.parametrize("optimizer", contenders.OPTIMIZERS)
def test_all_do_the_same_steps(peer, optimizer):
    """Three, bias corrections included; no gradient is so small that the place of ε matters."""
    if not peer.knows(Work(optimizer, SMALL)):
        pytest.skip("no such optimizer there")
    if (peer, optimizer) == (CONTENDERS["PyTorch"], "Momentum"):
        pytest.skip("PyTorch's momentum begins with the whole first gradient, whatever the dampening")
    grads = [np.sign(g) * (0.5 + abs(g)) for g in contenders.arrays(SMALL, 1)]
    found = []
    for each in (CONTENDERS["gnumba"], peer):
        params = contenders.arrays(SMALL, 0)
        call = each.step(optimizer, params, grads)
        for _ in range(3):
            last = call()
        found.append(last if each is CONTENDERS["optax"] else params)
    for ours, theirs, start in zip(*found, contenders.arrays(SMALL, 0), strict=True):
        np.testing.assert_allclose(theirs - start, ours - start, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("name", contenders.ACTIVATIONS)
def test_all_do_the_same_activation(peer, name, forward):
    """Each returns what gnumba does: one array or two; PReLU's second is the sum of shares."""
    if name not in peer.activations:
        pytest.skip("no such activation there")
    on = "64 × 10" if name in contenders.ALONG_ROWS else "1e3 elements"
    dy, count = contenders.normal(contenders.shape_of(on), 0), len(contenders.inputs_of(name, on))
    found = []
    for each in (CONTENDERS["gnumba"], peer):
        made = each.activation(name, forward, contenders.inputs_of(name, on), dy)()
        made = made[:count] if isinstance(made, (tuple, list)) else (made,)
        found.append([np.asarray(x) for x in made])
    for ours, theirs in zip(*found, strict=True):
        tolerance = 1e-5 if name == "sine" else 1e-6  # they round 30x before its sine is taken
        np.testing.assert_allclose(theirs, ours, rtol=2e-5, atol=tolerance * max(1.0, abs(ours).max()))
        assert theirs.dtype == np.float32


@pytest.mark.parametrize("name", contenders.LOSSES)
def test_all_do_the_same_loss(peer, name):
    """The mean, and its gradient."""
    work, *_ = contenders.losses([name], ["1e3 elements"])  # or of 64 rows
    if not peer.knows(work):
        pytest.skip("no such loss there")
    (loss, gradient), (theirs, slope) = (each.call(work)() for each in (CONTENDERS["gnumba"], peer))
    np.testing.assert_allclose(theirs.item(), loss, rtol=2e-5)
    np.testing.assert_allclose(slope, gradient, rtol=2e-5, atol=1e-9)
    assert np.asarray(slope).dtype == np.float32


def test_numpy_keeps_its_pages():
    """As in the bench, in a process of its own: a step faults in no pages, with temporaries or without."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "RUSAGE_SELF") or sys.platform != "linux":
        pytest.skip("glibc's malloc alone")
    code = """
import resource
from gnumba._cli import contenders
from gnumba._cli.contenders import with_numpy
with_numpy.keep_pages()
for name in ("NumPy", "NumPy out="):
    call = contenders.CONTENDERS[name].call(contenders.Work("Adam", "6 arrays, 235k"))
    for _ in range(3):
        call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        call()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert max(map(int, said.split())) < 100  # a step alone has a thousand without


# Who takes part.


def test_all_of_gnumba_is_measured():
    """Optimizers, activations and losses are the public ones; bytes follow from what is read and written."""
    assert {"SGD", "Momentum", "AdaGrad", "RMSProp", "Adam", "AdamW"} <= set(contenders.OPTIMIZERS)
    assert {"relu", "prelu", "silu", "swiglu", "softmax"} <= set(contenders.ACTIVATIONS)
    assert "swish" not in contenders.ACTIVATIONS
    assert set(gn.losses.__all__) - {"Loss"} == set(contenders.LOSSES)
    assert Work("Adam", "1 array, 30M").nbytes == 30e6 * 4 * 7
    assert Work("SGD", "1 array, 30M").nbytes == 30e6 * 4 * 5
    assert Work("LAMB", "1 array, 30M").nbytes == 30e6 * 4 * 11
    assert Work("relu", "1e5 elements", "backward").nbytes == 1e5 * 4 * 3
    assert Work("swiglu", "1e5 elements", "backward").nbytes == 1e5 * 4 * 5
    assert Work("mse", "1e5 elements", contenders.LOSS).nbytes == 1e5 * 4 * 3


def test_numpy_has_a_row_for_everything():
    """A new thing is compared with what a NumPy user writes; Muon has no model here."""
    numpy = CONTENDERS["NumPy"]
    missing = {
        "STEPS": set(contenders.OPTIMIZERS) - set(numpy.optimizers),
        "PASSES": set(contenders.ACTIVATIONS) - set(numpy.activations),
        "LOSSES": set(contenders.LOSSES) - set(numpy.losses),
    }
    assert not any(missing.values()), f"add to gnumba/_cli/contenders/with_numpy.py: {missing}"


@pytest.mark.parametrize("name", PEERS)
def test_a_row_is_of_something_that_is_compared(name):
    """A peer need not have one for each; one under another name would never be used."""
    optimizers, activations = set(contenders.OPTIMIZERS), set(contenders.ACTIVATIONS)
    assert set(CONTENDERS[name].optimizers) <= optimizers, f"{name}'s table of optimizers"
    assert set(CONTENDERS[name].activations) <= activations, f"{name}'s table of activations"
    assert set(CONTENDERS[name].losses) <= set(contenders.LOSSES), f"{name}'s table of losses"


def test_without_peers_there_is_no_column(monkeypatch, capsys):
    """A thing that no table knows is measured alone, and a library that knows one of two has a dash."""
    monkeypatch.setattr(bench, "probe", lambda: 1e10)
    monkeypatch.setattr(bench, "seconds", lambda call: [call(), 1e-3][1])
    monkeypatch.setattr(bench, "rounds", in_this_process)
    monkeypatch.setitem(contenders.OPTIMIZERS, "Novel", gn.Momentum)
    monkeypatch.setitem(contenders.ACTIVATIONS, "novel", gn.relu)
    monkeypatch.delitem(with_torch.OPTIMIZERS, "RMSProp")
    monkeypatch.setattr(bench, "find_spec", lambda name: name in ("numba", "numpy", "torch"))
    pytest.importorskip("torch")

    def cells(*optimizers, activations=()):
        works = contenders.steps(optimizers, [SMALL]) + contenders.passes(activations, ["1e3 elements"])
        bench.run({"Both": works}, 1, None)
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    alone = cells("Novel", activations=["novel"])
    assert ["gnumba", "memory"] in alone
    assert ["geometric", "mean"] in alone
    both = cells("Novel", "RMSProp", activations=["novel"])
    assert ["gnumba", "memory", "NumPy", "NumPy", "out="] in both
    for row in (line for line in both if line[:1] in (["Novel"], ["novel"])):
        assert row[-2:] == ["–", "–"]


def in_this_process(count, contenders, works):
    """In-process replacement for `rounds`."""
    for contender in list(contenders) * count:
        yield contender, bench.measure(contender, bench.known(contender, works))


# What is printed.


@pytest.fixture
def run_bench(monkeypatch, capsys):
    """Run the command with gnumba and NumPy in this process; what it prints."""
    monkeypatch.setattr(bench, "probe", lambda: 1e10)
    monkeypatch.setattr(bench, "rounds", in_this_process)
    monkeypatch.setattr(bench, "find_spec", lambda name: name in ("numba", "numpy"))

    def run(*arguments):
        assert main(["bench", *map(str, arguments), "--rounds", "1"]) == 0
        return capsys.readouterr().out

    return run


def test_tables_and_a_plot(tmp_path, run_bench):
    """One row a work, a ratio for each library that is here; a picture."""
    path = tmp_path / "ratios.png"
    out = run_bench(
        *("--optimizer", "Adam", "SGD", "--model", SMALL, "--activation", "relu", "--size", "1e3 elements"),
        *("--loss", "mse", "--plot", path),
    )
    steps, rest = out.split("Activations")
    activations, losses = rest.split("Losses")
    labels = (["Adam", "SGD(momentum=0.9)"], ["relu backward"], ["mse and gradient"])
    tables, sizes = (steps, activations, losses), (SMALL, "1e3 elements", "1e3 elements")
    for shown, on, expected in zip(tables, sizes, labels, strict=True):
        lines = [line.split() for line in shown.splitlines()]
        columns = ["NumPy"] if shown is losses else ["NumPy", "NumPy", "out="]  # those with a row
        assert ["gnumba", "memory", *columns] in lines
        assert on.split() in lines
        for label in expected:
            assert any(line[: len(label.split())] == label.split() for line in lines)
        assert any(line[:2] == ["geometric", "mean"] and float(line[2]) > 0 for line in lines)
    assert "above 100 % the arrays stay in the cache" in losses
    assert path.stat().st_size > 5_000


def test_markdown_is_the_readmes_table(run_bench):
    """Its head, and a row a work: model, optimizer, time, ratios."""
    out = run_bench("steps", "--markdown", "--optimizer", "SGD", "Adam", "--model", SMALL)
    head, rule, *rows = (line for line in out.splitlines() if line.startswith("|"))
    assert head == "| model | optimizer | gnumba | / NumPy | / NumPy out= |"
    assert rule == "|---|---|---|---|---|"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [[SMALL, "SGD(momentum=0.9)"], ["", "Adam"]]
    assert all(re.fullmatch(r"[\d,.]+ (µs|ms)", row[2]) for row in cells)
    assert all(float(ratio) > 0 for row in cells for ratio in row[3:])


def test_the_readme_has_the_benchs_table():
    """The columns and the rows that the command named there prints, with two digits that say something."""
    path = Path(__file__).parents[1] / "README.md"
    if not path.exists():
        pytest.skip("there is no README.md beside the tests")
    text = path.read_text("utf-8")
    assert "| model | optimizer | gnumba | / NumPy | / NumPy out= | / PyTorch | / optax |\n" in text
    chosen = re.search(r"python -m gnumba bench steps --markdown --optimizer ([\w ]+)`", text)[1].split()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("| model | optimizer | gnumba |")[2].partition("\n\n")[0].splitlines()[2:]
    ]
    works = contenders.steps(chosen, contenders.MODELS)
    assert [row[1] for row in rows] == [work.label for work in works]
    assert [row[0] for row in rows if row[0]] == list(contenders.MODELS)
    for ratio in (cell for row in rows for cell in row[3:]):
        assert ratio == bench.two_digits(float(ratio))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0234, "0.023"),
        (0.0999, "0.10"),
        (0.995, "0.99"),
        (0.997, "1.0"),
        (1.0, "1.0"),
        (3.14, "3.1"),
        (12.6, "13"),
        (123.0, "120"),
        (1e-5, "0.000010"),
        (None, "–"),
    ],
)
def test_ratios_have_two_digits(value, text):
    """Never 0.00."""
    assert bench.two_digits(value) == text


def test_a_ratio_is_of_the_same_round():
    """The median of the rounds' ratios, not the ratio of medians; the share likewise."""
    work = Work("Adam", SMALL)
    times = {
        "gnumba": {work: [1.0, 4.0, 3.0], bench.PROBE: [1e-6, 1e-5, 1e-6]},
        "NumPy": {work: [2.0, 5.0, 30.0]},
    }
    assert bench.ratio(times, "NumPy", work) == 0.5
    assert bench.share(times, work) == pytest.approx(work.nbytes * 1e-6 / 1.0)


@pytest.mark.parametrize(("taken", "busy"), [([1.0, 1.9], False), ([1.0, 40.0, 1.0], True)])
def test_rounds_that_disagree_are_reported(taken, busy):
    """By the library and the work that differ most: their ratios are not to be believed."""
    work = Work("Adam", SMALL)
    said = bench.disagreement({"gnumba": {work: [1.0, 1.1]}, "PyTorch": {work: taken}})
    assert bool(said) == busy
    assert not busy or f"40.0 times (PyTorch, Adam, {SMALL})" in said


def test_a_process_of_its_own():
    """The bench reads a worker's output; gnumba's output ends with the probe."""
    work = Work("SGD", SMALL)
    ((contender, found),) = bench.rounds(1, ["NumPy"], [work])
    assert contender == "NumPy"
    assert len(found) == 1
    assert found[0] > 0


def test_a_contender_that_fails_says_so():
    """With the end of what it wrote."""
    with pytest.raises(RuntimeError, match=r"(?s)NumPy failed:.*no such model"):
        list(bench.rounds(1, ["NumPy"], [Work("SGD", "no such model")]))
