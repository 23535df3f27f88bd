"""Checkpoints of ranks: written by any number of them, read by any other; whole or not at all."""

import contextlib
import copy
import io
import json
import os

import numpy as np
import pytest
from ranks import World
from test_distributed import GUARDED, MICRO, assert_same, gradients, model, raised

import gnumba as gn

SIZES = [1, 2, 4]


def optimizer(params, comm, zero=1, make=gn.Adam):
    return gn.distributed(make, params, comm=comm, zero=zero, lr=1e-2, **GUARDED)


def train(opt, params, steps):
    count = MICRO // opt.comm.size
    for t in steps:
        opt.step(gradients(t, opt.comm.rank * count + k, params) for k in range(count))


def reversed_in_memory(params):
    """Matrices in Fortran order, whose slices are no views."""
    return {name: np.asfortranarray(p) if p.ndim > 1 else p for name, p in params.items()}


@pytest.fixture(scope="module")
def course():
    """Parameters and states after 3 and 5 steps, never stopped."""
    params = model(0)
    opt = optimizer(params, "self")
    train(opt, params, range(3))
    middle = copy.deepcopy(params), opt.state_dict()
    train(opt, params, range(3, 5))
    return middle, (params, opt.state_dict())


def save(path, size, zero, **more):
    def work(comm):
        params = model(comm.rank)
        opt = optimizer(params, comm, zero)
        train(opt, params, range(3))
        gn.save_checkpoint(path, params, opt, rng=np.random.default_rng(5), extra={"epoch": 3}, **more)

    assert raised(World(size).run(work)) == [None] * size


@pytest.mark.parametrize("layout", [dict, reversed_in_memory])
@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("name", ["run", "run.safetensors"])
@pytest.mark.parametrize("saved_by", SIZES)
def test_saved_and_loaded_by_any_number_of_ranks(saved_by, name, zero, layout, course, tmp_path):
    """And by one process without ranks: the same bits go on."""
    (params, state), end = course
    save(tmp_path / name, saved_by, zero)
    assert (tmp_path / name).is_dir() == (name == "run")

    for size in SIZES:
        for loaded_zero in (0, 1):

            def work(comm, loaded_zero=loaded_zero):
                found, rng = layout(model(9)), np.random.default_rng(0)
                opt = optimizer(found, comm, loaded_zero)
                assert gn.load_checkpoint(tmp_path / name, found, opt, rng=rng) == {"epoch": 3}
                assert rng.bit_generator.state == np.random.default_rng(5).bit_generator.state
                assert_same(params, {k: np.asarray(x, order="C") for k, x in found.items()})
                if layout is dict:
                    assert_same(state, opt.state_dict())
                train(opt, found, range(3, 5))
                assert_same(end[0], {k: np.asarray(x, order="C") for k, x in found.items()})

            assert raised(World(size).run(work)) == [None] * size
    found = model(9)
    opt = gn.Adam(found, lr=1.0, **GUARDED)
    gn.load_checkpoint(tmp_path / name, found, opt)
    assert_same(params, found)
    assert_same(state, opt.state_dict())
    weights = model(9)
    gn.load_checkpoint(tmp_path / name, weights)
    assert_same(params, weights)


def test_one_file_is_that_of_one_process(course, tmp_path):
    """Byte for byte."""
    (params, state), _ = course
    opt = gn.Adam(params, lr=1.0, **GUARDED)
    opt.load_state_dict(state)
    gn.save_checkpoint(
        tmp_path / "one.safetensors", params, opt, rng=np.random.default_rng(5), extra={"epoch": 3}
    )
    save(tmp_path / "four.safetensors", 4, 1)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "four.safetensors").read_bytes()


def test_an_open_file(course):
    """Rank 0's."""
    (params, _), _ = course
    files = [io.BytesIO() for _ in range(2)]

    def work(comm):
        found = model(0)
        opt = optimizer(found, comm)
        train(opt, found, range(3))
        gn.save_checkpoint(files[comm.rank], found, opt)

    assert raised(World(2).run(work)) == [None] * 2
    assert files[1].getvalue() == b""
    weights = model(9)
    files[0].seek(0)
    gn.load_checkpoint(files[0], weights)
    assert_same(params, weights)


@pytest.mark.parametrize("name", ["run", "run.safetensors"])
def test_what_is_around_and_beside(name, tmp_path):
    """Lookahead around it, EMA and batches beside it, Phases inside."""

    def made(comm):
        params = model(0)
        plan = [gn.Phase(gn.Adam, steps=2, lr=1e-2), gn.Phase(gn.SGD, lr=1e-2, momentum=0.9)]
        opt = gn.Lookahead(gn.distributed(gn.Phases, params, comm=comm, phases=plan), every=2)
        return params, opt, gn.EMA(params, 0.5), gn.minibatches(np.arange(10), batch_size=3, rng=1)

    def work(comm):
        params, opt, ema, batches = made(comm)
        for t in range(3):
            opt.step(gradients(t, 0, params))
            ema.update()
        next(iter(batches))
        also = {"ema": ema, "batches": batches}
        gn.save_checkpoint(tmp_path / name, params, opt, also=also)
        other, opt_two, ema_two, batches_two = made(comm)
        gn.load_checkpoint(tmp_path / name, other, opt_two, also={"ema": ema_two, "batches": batches_two})
        assert_same(params, other)
        assert_same(opt.state_dict(), opt_two.state_dict())
        assert_same(ema.state_dict(), ema_two.state_dict())
        assert batches_two.t == 1
        opt.step(gradients(3, 0, params))
        opt_two.step(gradients(3, 0, other))
        assert_same(params, other)

    assert raised(World(2).run(work)) == [None] * 2


def test_other_arrays_are_filled(course, tmp_path):
    """Those that are no optimizer's, whole on every rank."""
    (params, _), _ = course
    save(tmp_path / "run", 2, 1)

    def work(comm):
        own, other = model(0), model(9)
        gn.load_checkpoint(tmp_path / "run", other, optimizer(own, comm))
        assert_same(params, other)
        assert_same(model(0), own)

    assert raised(World(2).run(work)) == [None] * 2


@pytest.mark.parametrize("name", ["run", "run.safetensors"])
@pytest.mark.parametrize("zero", [0, 1])
def test_other_arrays_are_saved(zero, name, course, tmp_path):
    """Averages under the parameters' names, of which a part may be the optimizer's, and more than it has."""
    (_, state), _ = course
    more = {"buffer": np.arange(5.0)}

    def work(comm):
        params = model(0)
        opt, averages = optimizer(params, comm, zero), model(7)
        train(opt, params, range(3))
        for kind, saved in (("averages", averages), ("some", averages | {"b1": params["b1"]})):
            gn.save_checkpoint(tmp_path / kind / name, saved, opt)
            found = model(9)
            other = optimizer(found, comm, zero)
            gn.load_checkpoint(tmp_path / kind / name, found, other)
            assert_same(saved, found)
            assert_same(state, other.state_dict())
        gn.save_checkpoint(tmp_path / "more" / name, params | more, opt)
        found = model(9)
        wider = found | {"buffer": np.zeros(5)}
        other = optimizer(found, comm, zero)
        gn.load_checkpoint(tmp_path / "more" / name, wider, other)
        assert_same(params | more, wider)
        assert_same(state, other.state_dict())
        train(opt, params, range(3, 5))
        train(other, found, range(3, 5))
        assert_same(params, found)

    for kind in ("averages", "some", "more"):
        (tmp_path / kind).mkdir()
    assert raised(World(2).run(work)) == [None] * 2


def test_parameters_that_are_the_optimizer_s_on_one_rank_only(tmp_path):
    """Refused on all, as the calls that follow depend on it."""

    def saves(comm):
        params = model(0)
        gn.save_checkpoint(tmp_path / "run", model(0) if comm.rank else params, optimizer(params, comm))

    def loads(comm):
        params = model(0)
        gn.load_checkpoint(tmp_path / "run", model(0) if comm.rank else params, optimizer(params, comm))

    for work in (saves, loads):
        for said in failures(work):
            assert said == (
                "ValueError: answers to whether params are the optimizer's differ between ranks: "
                "rank 0 has True, rank 1 has False"
            )
        save(tmp_path / "run", 2, 1)


@pytest.mark.parametrize("name", ["run", "run.safetensors"])
def test_ranks_that_read_different_checkpoints(name, tmp_path):
    """As from working directories of their own, or around a save: they would go on with parts of both."""

    def saves(comm):
        params = model(0)
        opt = optimizer(params, comm)
        for epoch in range(2):
            (tmp_path / str(epoch)).mkdir(exist_ok=True)
            gn.save_checkpoint(tmp_path / str(epoch) / name, params, opt, extra=epoch)

    def loads(comm):
        params = model(9)
        opt = optimizer(params, comm)
        before = copy.deepcopy(params)
        try:
            gn.load_checkpoint(tmp_path / str(comm.rank) / name, params, opt)
        except ValueError as error:
            assert_same(before, params)
            opt.step(gradients(0, 0, params))  # they still agree
            return str(error)
        return "loaded"

    assert raised(World(2).run(saves)) == [None] * 2
    for said in raised(World(2).run(loads)):
        assert said.startswith("the checkpoints, by their SHA-256, differ between ranks: rank 0 has ")


@pytest.mark.parametrize("zero", [0, 1])
def test_the_optimizer_under_two_names(zero, course, tmp_path):
    """The second state is whole."""
    (_, state), _ = course

    def work(comm):
        found = model(0)
        opt = optimizer(found, comm, zero)
        train(opt, found, range(3))
        gn.save_checkpoint(tmp_path / "run", found, opt, also={"again": opt})

    assert raised(World(2).run(work)) == [None] * 2
    found = model(9)
    first, second = gn.Adam(found, lr=1.0, **GUARDED), gn.Adam(model(9), lr=1.0, **GUARDED)
    gn.load_checkpoint(tmp_path / "run", found, first, also={"again": second})
    assert_same(state, first.state_dict())
    assert_same(state, second.state_dict())


def test_each_rank_reads_what_it_needs(tmp_path, monkeypatch):
    """No more than the pieces that overlap with its own."""
    save(tmp_path / "run", 4, 1)
    read = []
    real = gn._distributed.folder.Folder.__exit__

    def noted(self, *failure):
        read.append(self.bytes_read)
        return real(self, *failure)

    monkeypatch.setattr(gn._distributed.folder.Folder, "__exit__", noted)

    def work(comm):
        params = model(9)
        gn.load_checkpoint(tmp_path / "run", params, optimizer(params, comm))

    whole = 3 * sum(p.nbytes for p in model(0).values())
    assert raised(World(4).run(work)) == [None] * 4
    assert sum(read) == whole
    assert max(read) <= 3 * 4 * 2 * 4096  # of five blocks none has more than two
    read.clear()
    assert raised(World(2).run(work)) == [None] * 2
    assert sum(read) == whole


def failures(work, size=2):
    return [f"{type(each).__name__}: {each}" for each in World(size).run(work)]


def test_whole_or_not_at_all(course, tmp_path, monkeypatch):
    """A rank that cannot write leaves the checkpoint before as it was; files that are of no use go later."""
    (params, _), _ = course
    save(tmp_path / "run", 2, 1)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    real, folder = gn._distributed.folder.write_whole, gn._distributed.folder

    def work(comm):
        other = model(5)
        gn.save_checkpoint(tmp_path / "run", other, optimizer(other, comm))

    for failing, rank in (("-00001.", 1), ("index", 0)):

        def write(path, pieces, failing=failing):
            if failing in os.fspath(path):
                raise OSError("disk full")
            return real(path, pieces)

        monkeypatch.setattr(folder, "write_whole", write)
        said = failures(work)
        assert said[rank] == "OSError: disk full"
        assert said[1 - rank].startswith(f"RankError: rank {rank} could not write")
        found = model(9)
        gn.load_checkpoint(tmp_path / "run", found)
        assert_same(params, found)
        assert set(before) <= {path.name for path in (tmp_path / "run").iterdir()}
    monkeypatch.setattr(folder, "write_whole", real)
    save(tmp_path / "run", 2, 1)
    after = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert len(after) == len(before) == 3
    assert set(after) & set(before) == {"index.json"}


def test_other_files_in_the_folder_stay(tmp_path):
    """As those of a model in parts, or of epochs."""
    folder = tmp_path / "run"
    folder.mkdir()
    others = "model-00001-of-00004.safetensors", "epoch-10.safetensors", "ABCDEF01-00000.safetensors"
    for name in others:
        (folder / name).write_bytes(b"kept")
    save(folder, 2, 1)
    first = {path.name for path in folder.iterdir()}
    save(folder, 2, 1)
    second = {path.name for path in folder.iterdir()}
    assert first & second == {*others, "index.json"}
    assert len(first) == len(second) == len(others) + 3


def test_a_part_that_is_not_there(course, tmp_path, monkeypatch):
    """Of a folder of each node's own, or where another job saves to: the checkpoint before stays whole."""
    (params, _), _ = course
    save(tmp_path / "run", 2, 1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    real, folder = gn._distributed.folder.write_whole, gn._distributed.folder

    def elsewhere(path, pieces):
        return None if "-00001." in os.fspath(path) else real(path, pieces)

    def work(comm):
        other = model(5)
        gn.save_checkpoint(tmp_path / "run", other, optimizer(other, comm))

    monkeypatch.setattr(folder, "write_whole", elsewhere)
    first, second = failures(work)
    assert first.startswith("FileNotFoundError: ")
    assert first.endswith(
        "-00001.safetensors, which a rank has just written, expected a folder that all ranks see and that no "
        "other job saves to"
    )
    assert second == f"RankError: rank 0 could not write the index: {first}"
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert before.items() <= after.items()
    found = model(9)
    gn.load_checkpoint(tmp_path / "run", found)
    assert_same(params, found)


def damaged(path, at, byte=None):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("part", ["index", "tensor", "missing", "version", "none"])
def test_damage_is_an_error_on_every_rank(part, tmp_path):
    """Nothing has changed then."""
    folder = tmp_path / "run"
    save(folder, 2, 1)
    files = sorted(folder.glob("*.safetensors"))
    match part:
        case "index":
            damaged(folder / "index.json", -20)
        case "tensor":
            damaged(files[1], -5)
        case "missing":
            files[1].unlink()
        case "version":
            (folder / "index.json").write_text(json.dumps({"sha256": "0" * 64, "version": 2}))
        case "none":
            (folder / "index.json").unlink()

    def work(comm):
        params = model(0)
        opt = optimizer(params, comm)
        try:
            gn.load_checkpoint(folder, params, opt)
        except (ValueError, OSError, RuntimeError) as error:
            assert_same(params, model(0))
            assert opt.t == 0
            opt.step(gradients(0, 0, params))  # they still agree
            return type(error).__name__, str(error)
        return "loaded"

    said = raised(World(2).run(work))
    assert "loaded" not in said
    if part in ("tensor", "missing"):  # of rank 1's part
        assert said[0][0] == "RankError"
        assert said[0][1].startswith("rank 1 cannot load it: ")
        assert said[1][0] in ("ValueError", "FileNotFoundError")
    else:
        assert said[0] == said[1]


def test_what_differs_between_ranks(tmp_path):
    """A generator of each rank's own, and a rank that does not save."""

    def with_rngs(comm):
        params = model(0)
        gn.save_checkpoint(
            tmp_path / "run", params, optimizer(params, comm), rng=np.random.default_rng(comm.rank)
        )

    def to_different_places(comm):
        params = model(0)
        gn.save_checkpoint(tmp_path / f"run{comm.rank}", params, optimizer(params, comm))

    def swapped_on_one(comm):
        params = model(0)
        opt, ema = optimizer(params, comm), gn.EMA(params)
        with ema.swapped() if comm.rank else contextlib.nullcontext():
            gn.save_checkpoint(tmp_path / "run", params, opt, also={"ema": ema})

    def on_one(comm):
        params = model(0)
        opt = optimizer(params, comm)
        if comm.rank:
            opt.step(gradients(0, 0, params))
        else:
            gn.save_checkpoint(tmp_path / "run", params, opt)

    for said in failures(with_rngs):
        assert said.startswith("ValueError: the states of rng, by their SHA-256, differ between ranks")
    for said in failures(to_different_places):
        assert said.startswith("ValueError: the paths differ between ranks: rank 0 has ")
    first, second = failures(swapped_on_one)
    assert (
        second == "RuntimeError: state_dict is called inside swapped(), where the parameters are the averages"
    )
    assert first == f"RankError: rank 1 cannot save: {second}"
    for said in failures(on_one):
        assert (
            said == "ValueError: the calls differ between ranks: rank 0 has save_checkpoint, rank 1 has step"
        )
    assert not (tmp_path / "run").exists()


class Counter:
    """An object that may refuse a state."""

    def __init__(self, t=0, refused=None):
        self.t, self.refused = t, refused

    def state_dict(self):
        return {"t": self.t}

    def load_state_dict(self, state):
        if state["t"] == self.refused:
            raise LookupError(f"no {self.refused}")
        self.t = state["t"]


@pytest.mark.parametrize("refusing", ["also", "the optimizer"])
@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("name", ["run", "run.safetensors"])
def test_a_state_that_one_rank_refuses(name, zero, refusing, tmp_path):
    """All is as it was, on all ranks, who go on together."""

    def saves(comm):
        params = model(0)
        opt = optimizer(params, comm, zero)
        other = optimizer(model(0), comm, zero)
        for each in (opt, other):
            each.step(gradients(0, 0, params))
        also = {"a": Counter(7), "b": Counter(8), "c": other}
        gn.save_checkpoint(tmp_path / name, params, opt, also=also)

    def loads(comm):
        params = model(1)
        opt, other = optimizer(params, comm, zero), optimizer(model(0), comm, zero)
        before = copy.deepcopy(params)
        a, b = Counter(), Counter(refused=8 if refusing == "also" and comm.rank else None)
        if refusing == "the optimizer" and comm.rank:

            def refuse(state):
                if state["t"]:
                    raise LookupError("no 8")

            other.optimizer.__dict__["load_state_dict"] = refuse
        with pytest.raises((LookupError, RuntimeError)) as caught:
            gn.load_checkpoint(tmp_path / name, params, opt, also={"a": a, "b": b, "c": other})
        assert_same(before, params)
        assert (a.t, b.t, opt.t, other.t) == (0, 0, 0, 0)
        opt.step(gradients(0, 0, params))
        return str(caught.value)

    assert raised(World(2).run(saves)) == [None] * 2
    first, second = raised(World(2).run(loads))
    assert first.startswith("rank 1 cannot load ")
    assert first.endswith("LookupError: no 8")
    assert second == "no 8"


def test_a_checkpoint_that_does_not_fit(tmp_path):
    save(tmp_path / "run", 2, 1)

    def shaped(comm):
        params = model(0) | {"w2": np.zeros((31, 150), np.float32)}
        gn.load_checkpoint(tmp_path / "run", params, optimizer(params, comm))

    def of_rule(comm):
        params = model(0)
        gn.load_checkpoint(tmp_path / "run", params, optimizer(params, comm, make=gn.Lion))

    for said in failures(shaped):
        assert said.startswith("ValueError: parameter w2 is float32 (30, 150) in the checkpoint")
    for said in failures(of_rule):
        assert said.startswith("ValueError: state")
