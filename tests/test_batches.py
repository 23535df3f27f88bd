"""Mini-batches: every row once an epoch, as a naive loop gives them; going on where one stopped."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
from tqdm import tqdm

import gnumba as gn

COUNT = 10


def growing(t):
    """1, 2, 3, 1, 2, 3, …"""
    return 1 + t % 3


class Plan:
    """Stand-in for `Phases` with a constant batch size."""

    batch_size = 3


def naive(arrays, size_at, rng, shuffle, drop_last, epochs):
    """The batches of each epoch as lists of rows, one row at a time."""
    t, found = 0, []
    for _ in range(epochs):
        rest = list(rng.permutation(len(arrays[0])) if shuffle else range(len(arrays[0])))
        found.append([])
        while rest:
            size = int(size_at(t) or len(arrays[0]))
            if drop_last and len(rest) < size:
                break
            picked = [rest.pop(0) for _ in range(min(size, len(rest)))]
            found[-1].append(tuple([a[row].tolist() for row in picked] for a in arrays))
            t += 1
    return found


def listed(batches):
    """An epoch as plain lists."""
    return [tuple(part.tolist() for part in batch) for batch in batches]


def data(count=COUNT):
    """Rows of several axes, labels, and words."""
    x = np.arange(count * 6).reshape(count, 2, 3)
    return x.astype(np.float32), np.asfortranarray(x[:, 0]), np.array([f"row {k}" for k in range(count)])


SIZES = [1, 3, 5, 10, 99, None, np.int64(4), 2.0, growing, lambda t: None if t % 2 else 4.0]


# The batches.


@pytest.mark.parametrize("batch_size", SIZES, ids=lambda size: getattr(size, "__name__", str(size)))
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("count", [COUNT, 1, 0])
def test_as_a_naive_loop(batch_size, shuffle, drop_last, count):
    """Rows, their order, sizes, how many; several epochs and arrays."""
    arrays = data(count)
    size_at = batch_size if callable(batch_size) else lambda t: batch_size
    expected = naive(arrays, size_at, np.random.default_rng(5), shuffle, drop_last, 4)
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    batches = gn.minibatches(*arrays, rng=np.random.default_rng(5), **options)
    for epoch in expected:
        assert len(batches) == len(epoch)
        assert listed(batches) == epoch
    assert batches.t == sum(map(len, expected))


def test_one_array_gives_tuples_too():
    """So that a loop unpacks the same way."""
    assert listed(gn.minibatches(np.arange(3), batch_size=2, shuffle=False)) == [([0, 1],), ([2],)]


def test_defaults():
    """64 rows, in an order of its own, the last batch too."""
    batches = gn.minibatches(np.arange(130))
    sizes = [len(rows) for (rows,) in batches]
    first, second = (np.concatenate([rows for (rows,) in batches]) for _ in range(2))
    assert sizes == [64, 64, 2]
    assert sorted(first) == sorted(second) == list(range(130))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(130))


def test_every_array_has_the_same_rows():
    """Whatever its dtype and layout."""
    x, y, words = data(1000)
    for xs, ys, ws in gn.minibatches(x, y, words, batch_size=7, rng=1):
        np.testing.assert_array_equal(xs[:, 0], ys)
        assert [f"row {int(row[0, 0]) // 6}" for row in xs] == ws.tolist()


def test_the_same_rng_gives_the_same_batches():
    """A seed, a generator, and a generator's state put back between epochs."""
    rng = np.random.default_rng(3)
    mine = gn.minibatches(np.arange(20), batch_size=6, rng=rng)
    theirs = gn.minibatches(np.arange(20), batch_size=6, rng=3)
    assert listed(mine) == listed(theirs)
    kept = rng.bit_generator.state
    second = listed(mine)
    assert second == listed(theirs) != listed(mine)
    rng.bit_generator.state = kept
    assert listed(mine) == second


def test_only_a_batch_is_copied():
    """In order: views. Shuffled: copies, which the data does not see."""
    x = np.zeros((6, 2))
    views = list(gn.minibatches(x, batch_size=4, shuffle=False))
    assert all(np.shares_memory(x, rows) for (rows,) in views)
    for (rows,) in gn.minibatches(x, batch_size=4):
        rows[...] = 1.0
    assert not x.any()
    views[1][0][...] = 1.0
    assert x[4:].all()


def test_a_memory_map(tmp_path):
    """Rows are read as they are needed."""
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(50, 3))
    x[...] = np.arange(150).reshape(50, 3)
    given = np.concatenate([rows for (rows,) in gn.minibatches(x, batch_size=8, rng=0)])
    np.testing.assert_array_equal(given[np.argsort(given[:, 0])], x)


def test_torch_tensors():
    """Batches are tensors; beside NumPy arrays the rows are the same."""
    torch = pytest.importorskip("torch")
    x = torch.arange(40.0).reshape(20, 2)
    for rows, numbers in gn.minibatches(x, np.arange(20), batch_size=6, rng=0):
        assert isinstance(rows, torch.Tensor)
        np.testing.assert_array_equal(rows[:, 0].numpy(), 2.0 * numbers)
    (first,), *_ = gn.minibatches(x, batch_size=6, shuffle=False)
    assert first.data_ptr() == x.data_ptr()


def test_sizes_are_asked_for_as_batches_are():
    """A schedule knows t, over all epochs; a plan says what it is now."""
    asked = []
    batches = gn.minibatches(np.arange(5), batch_size=lambda t: asked.append(t) or 2)
    for _ in range(2):
        for _ in batches:
            pass
    assert asked == list(range(6))
    plan, sizes = Plan(), []
    for (rows,) in gn.minibatches(np.arange(9), batch_size=plan):
        sizes.append(len(rows))
        plan.batch_size = 5
    assert sizes == [3, 5, 1]


def test_len_of_a_schedule_is_that_of_the_epoch_to_come():
    """It goes on at t."""
    batches = gn.minibatches(np.arange(12), batch_size=lambda t: 1 + t)
    lengths = []
    for _ in range(3):
        lengths.append(len(batches))
        assert len(list(batches)) == lengths[-1]
    assert lengths == [5, 2, 2]  # 1 2 3 4 2, 6 6, 8 4


def test_batch_sizes_in_turn():
    """Large for stable steps, small for noise: the schedule has no state, so there is a len."""
    batches = gn.minibatches(np.arange(20), batch_size=gn.schedules.alternate(8, 2))
    assert len(batches) == 4
    assert [len(rows) for (rows,) in batches] == [8, 2, 8, 2]


def test_no_len_where_sizes_depend_on_more_than_t():
    """A plan; a schedule with a state. ``list`` and tqdm do without."""

    for batch_size in (Plan(), gn.schedules.ReduceOnPlateau(4.0)):
        batches = gn.minibatches(np.arange(10), batch_size=batch_size)
        with pytest.raises(TypeError, match=type(batch_size).__name__):
            len(batches)
        assert sum(len(rows) for (rows,) in list(batches)) == 10
        assert tqdm(batches, disable=True).total is None


def test_tqdm_knows_the_end():
    """Of every epoch."""
    bar = tqdm(gn.minibatches(np.arange(10), batch_size=3), disable=None, leave=False)
    assert bar.total == 4
    assert sum(len(rows) for (rows,) in bar) == 10


def test_epochs_may_be_nested():
    """Each ``for`` is an epoch of its own."""
    batches = gn.minibatches(np.arange(6), batch_size=4, rng=0)
    pairs = [(outer, inner) for (outer,) in batches for (inner,) in batches]
    assert [(len(outer), len(inner)) for outer, inner in pairs] == [(4, 4), (4, 2), (2, 4), (2, 2)]
    assert sorted(np.concatenate([pairs[0][0], pairs[2][0]])) == list(range(6))


def test_repr():
    """The repr shows the arrays, the batch size and t."""
    batches = gn.minibatches(*data(), batch_size=growing)
    next(iter(batches))
    assert repr(batches) == "Minibatches(3 arrays of 10 rows, batch_size=growing, t=1)"
    assert "batch_size=64" in repr(gn.minibatches(np.arange(3)))


# Stopping and going on.


def made(rng, size=growing):
    """Batches, and what their loops are asked for."""
    return gn.minibatches(np.arange(COUNT), batch_size=size, rng=rng)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
@pytest.mark.parametrize("carry", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_going_on_after_every_batch(bits, carry):
    """From the batch after it on, also in new batches with another rng; then epoch after epoch."""
    whole = made(np.random.Generator(bits(1)))
    epochs = [listed(whole) for _ in range(3)]
    for k, epoch in enumerate(epochs[:2]):
        for taken in range(len(epoch) + 1):
            first = made(np.random.Generator(bits(1)))
            for _ in range(k):
                list(first)
            for _ in itertools.islice(first, taken):
                pass
            state = carry(first.state_dict())
            second = made(np.random.Generator(bits(2)))
            second.load_state_dict(state)
            if taken:
                assert len(second) == len(epoch) - taken
                assert listed(second) == epoch[taken:]
                assert listed(second) == epochs[k + 1]
            else:
                assert [listed(second), listed(second)] == epochs[k : k + 2]


def test_going_on_between_epochs():
    """When a ``for`` has run to its end, the next is a new epoch."""
    first, second = made(1), made(2)
    list(first)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.t == first.t > 0
    assert [listed(second), listed(second)] == [listed(first), listed(first)]


def test_a_new_loop_is_a_new_epoch():
    """Also after ``break``; only ``load_state_dict`` goes on within one."""
    rng = np.random.default_rng(1)
    batches = made(rng, 3)
    for _ in batches:
        break
    assert len(batches) == 4
    assert sorted(row for (rows,) in listed(batches) for row in rows) == list(range(COUNT))


def test_the_state_saved_again_before_going_on():
    """Is what was loaded."""
    first, second, third = made(1), made(2), made(3)
    next(iter(first))
    second.load_state_dict(first.state_dict())
    third.load_state_dict(second.state_dict())
    assert third.state_dict() == first.state_dict()
    assert listed(third) == listed(second)


def test_a_given_rng_goes_back_too():
    """It is the one that the batches draw from, and whoever else has it."""
    rng = np.random.default_rng(7)
    batches = made(rng)
    state, drawn = batches.state_dict(), rng.random()
    batches.load_state_dict(state)
    assert rng.random() == drawn


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda batches: pickle.loads(pickle.dumps(batches))])
def test_a_copy_goes_on_by_itself(duplicate):
    """With an rng of its own."""
    batches = made(1)
    list(batches)
    twin = duplicate(batches)
    assert [listed(twin), listed(twin)] == [listed(batches), listed(batches)]


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda batches: pickle.loads(pickle.dumps(batches))],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("taken", [0, 1, 2, 99])
@pytest.mark.parametrize("own_rng", [True, False])
def test_a_copy_within_an_epoch(duplicate, taken, own_rng):
    """Gives the rest of it, and epochs after it; the original goes on as if there were no copy."""
    rng = np.random.default_rng(1) if own_rng else 1
    batches, alone = made(rng), made(1)
    loops = iter(batches), iter(alone)
    for loop in loops:
        list(itertools.islice(loop, taken))
    twin, third = duplicate(batches), made(2)
    third.load_state_dict(batches.state_dict())
    assert twin.state_dict() == batches.state_dict() == third.state_dict()
    assert (len(twin), repr(twin)) == (len(third), repr(third))
    assert [listed(twin) for _ in range(3)] == [listed(third) for _ in range(3)]
    rest = [listed(loop) for loop in loops]
    assert rest[0] == rest[1]
    assert [listed(batches) for _ in range(3)] == [listed(alone) for _ in range(3)]
    assert batches.state_dict() == alone.state_dict()


def test_a_copy_shares_the_arrays_alone():
    """copy.copy: not the generator, nor what is loaded into one of them."""
    x = np.arange(6)
    batches = gn.minibatches(x, batch_size=2, rng=0)
    next(iter(batches))
    twin = copy.copy(batches)
    assert twin._arrays is batches._arrays
    assert twin.rng is not batches.rng
    state = batches.state_dict()
    list(twin)
    twin.load_state_dict(gn.minibatches(x, rng=5).state_dict())
    twin.batch_size = 3
    assert batches.state_dict() == state
    assert batches.batch_size == 2


# Attributes.


def test_arguments_may_be_set():
    """As they were given, and checked."""
    batches = gn.minibatches(np.arange(7), batch_size=3, rng=0)
    assert (batches.batch_size, batches.shuffle, batches.drop_last, batches.t) == (3, True, False, 0)
    batches.batch_size, batches.shuffle, batches.drop_last = 2.0, False, True
    assert len(batches) == 3
    assert listed(batches) == [([0, 1],), ([2, 3],), ([4, 5],)]
    batches.batch_size = None
    assert listed(batches) == [(list(range(7)),)]
    batches.batch_size, batches.drop_last = growing, False
    assert [len(rows) for (rows,) in batches] == [2, 3, 1, 1]
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches.batch_size = 0
    batches.shuffle, batches.batch_size, batches.rng = True, 7, 5
    assert next(iter(batches))[0].tolist() == np.random.default_rng(5).permutation(7).tolist()


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("batchsize", "batch_size"), ("batch_sizes", "batch_size"), ("drop_lst", "drop_last"), ("rgn", "rng")],
)
def test_other_attributes_cannot_be_set(wrong, near):
    """The nearest is named."""
    batches = gn.minibatches(np.arange(7))
    with pytest.raises(AttributeError, match=f"'{wrong}'; did you mean '{near}'"):
        setattr(batches, wrong, 3)
    assert not hasattr(batches, wrong)
    with pytest.raises(AttributeError):
        batches.t = 3


# Arrays that are in no memory.


class OnDisk:
    """Rows that must be asked for in ascending order, each once, as h5py has it."""

    def __init__(self, values):
        self._values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            assert (np.diff(rows) > 0).all(), "not in ascending order"
        return self._values[rows].copy()


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_are_asked_for_in_ascending_order(shuffle):
    """And given in the order of the epoch, beside arrays in memory."""
    x, y, words = data(50)
    options = {"batch_size": 7, "shuffle": shuffle}
    given = gn.minibatches(OnDisk(x), y, OnDisk(words), rng=1, **options)
    for _ in range(2):
        for mine, theirs in zip(given, gn.minibatches(x, y, words, rng=1, **options), strict=True):
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        given.load_state_dict(gn.minibatches(x, rng=1).state_dict())


def test_h5py(tmp_path):
    """A dataset, and its rows shuffled."""
    h5py = pytest.importorskip("h5py")
    x, y, _ = data(50)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = x, y
        given = list(gn.minibatches(file["x"], file["y"], batch_size=8, rng=3))
    for mine, theirs in zip(given, gn.minibatches(x, y, batch_size=8, rng=3), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


# Wrong input.


class Frame:
    """As pandas has them: a shape, and an index that is no row's."""

    shape = (3, 2)
    iloc = None


WRONG_ARRAYS = {
    "none": (lambda: [], ValueError, "at least one"),
    "lengths": (lambda: [np.zeros(3), np.zeros((4, 3))], ValueError, r"\[3, 4\] rows"),
    "0-d": (lambda: [np.zeros(3), np.array(1.0)], ValueError, r"array 1 has shape \(\)"),
    "a list": (lambda: [[1, 2, 3]], TypeError, "array 0 is of type list"),
    "a list among arrays": (lambda: [np.zeros(3), [1, 2, 3]], TypeError, "array 1 is of type list"),
    "a string": (lambda: ["abc"], TypeError, "array 0 is of type str"),
    "a table": (lambda: [Frame()], TypeError, "array 0 is of type Frame"),
}


@pytest.mark.parametrize("wrong", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_wrong_arrays(wrong):
    """Refused at once."""
    arrays, kind, words = wrong
    with pytest.raises(kind, match=words):
        gn.minibatches(*arrays())


def test_a_wrong_seed():
    """Refused at once."""
    with pytest.raises(TypeError, match="rng is 'zero', expected"):
        gn.minibatches(np.zeros(3), rng="zero")


WRONG_SIZES = [0, -1, 2.5, 0.5, float("nan"), float("inf"), "64", [64], 1j]


@pytest.mark.parametrize("size", WRONG_SIZES, ids=repr)
def test_wrong_sizes(size):
    """At once; from a schedule at its batch, which it names, with nothing given or counted."""
    with pytest.raises(ValueError, match=r"batch_size is .* expected a whole number ≥ 1"):
        gn.minibatches(np.zeros(3), batch_size=size)
    batches = gn.minibatches(np.zeros(3), batch_size=lambda t: 2 if t == 0 else size)
    given = iter(batches)
    next(given)
    state = batches.state_dict()
    with pytest.raises(ValueError, match="batch_size at batch 1 is "):
        next(given)
    assert batches.state_dict() == state


def under_way(**others):
    """A state within an epoch, some of it exchanged."""
    rng = np.random.default_rng(0).bit_generator.state
    epoch = {"rng": rng, "row": 3, "rows": COUNT}
    epoch |= {name: others.pop(name) for name in ("row", "rows") if name in others}
    return {"t": 2, "rng": rng, "epoch": epoch} | others


WRONG_STATES = {
    "no dict": lambda: 3,
    "other names": lambda: under_way(x=1),
    "a missing name": lambda: {"t": 2, "epoch": None},
    "t": lambda: under_way(t=-1),
    "t no integer": lambda: under_way(t=1.5),
    "an epoch's names": lambda: under_way(epoch={"row": 3}),
    "an epoch that is none": lambda: under_way(epoch=3),
    "a row": lambda: under_way(row=COUNT + 1),
    "rows": lambda: under_way(rows=COUNT + 1),
    "another kind of rng": lambda: under_way(rng=np.random.MT19937(0).state),
    "a damaged rng": lambda: under_way(rng={"bit_generator": "PCG64"}),
    "no rng": lambda: under_way(rng=None),
    "an epoch's rng": lambda: under_way(epoch={"rng": np.random.MT19937(0).state, "row": 3, "rows": COUNT}),
}


@pytest.mark.parametrize("wrong", WRONG_STATES.values(), ids=WRONG_STATES.keys())
def test_wrong_states(wrong):
    """Refused before anything is changed."""
    batches = made(1)
    next(iter(batches))
    before = batches.state_dict()
    with pytest.raises(ValueError, match="state"):
        batches.load_state_dict(wrong())
    assert batches.state_dict() == before
    batches.load_state_dict(under_way())
    assert len(listed(batches)) > 0


# Parts.


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [40, 43])
def test_parts_are_shares_of_the_same_batches(size, rows):
    """Of every batch, in the order of ranks; their lengths differ by one at most."""
    x = np.arange(rows)
    whole = [b.tolist() for (b,) in gn.minibatches(x, batch_size=12, rng=1)]
    epochs = [gn.minibatches(x, batch_size=12, rng=1, part=(rank, size)) for rank in range(size)]
    assert len({len(each) for each in epochs}) == 1
    shares = [[b.tolist() for (b,) in each] for each in epochs]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert list(itertools.chain(*parts)) == batch
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sorted(itertools.chain(*(b for each in shares for b in each))) == x.tolist()


def test_parts_go_on_at_another_size():
    """The state says nothing of parts."""
    x = np.arange(40)
    first = gn.minibatches(x, batch_size=8, rng=1, part=(1, 2))
    next(iter(first))
    second = gn.minibatches(x, batch_size=8, rng=7)
    second.load_state_dict(first.state_dict())
    assert [b[4:].tolist() for (b,) in second] == [b.tolist() for (b,) in copy.copy(first)]
    assert repr(first) == "Minibatches(1 arrays of 40 rows, batch_size=8, part=(1, 2), t=1)"


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), 1, (0.0, 1), (0, 1, 2), "01", None])
def test_a_part_that_is_none(part):
    with pytest.raises(ValueError, match=r"part is .*, expected \(rank, size\)"):
        gn.minibatches(np.arange(4), part=part)
