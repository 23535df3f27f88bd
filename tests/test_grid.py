"""The bodies of CUDA kernels, run on this CPU: the bits of the CPU's own kernels."""

import math

import cases
import layouts
import numpy as np
import pytest
from judge import assert_same_bits
from numba import types
from numba.extending import _Intrinsic

import gnumba as gn
from gnumba import losses
from gnumba._engine import grid, lanes, memory, norm, row_steps, rowwise_grid, sums
from gnumba._engine.compile import primitives
from gnumba._engine.factor import CONTROL, FACTORS, FINITE, GO, NORM, factor
from gnumba._engine.launch import launch
from gnumba._engine.lines import by_lines
from gnumba._engine.place import HOST
from gnumba._engine.storage import OF_DTYPE, alike, storage_of, storages_of
from gnumba._engine.table import BLOCK, Table, address

EACH_SHAPE = pytest.mark.parametrize(
    ("function", "dtype"), cases.in_turns(cases.SHAPED.values()), ids=cases.SHAPED.keys()
)
SIZES = (0, 1, 3, 4, 17, BLOCK - 1, BLOCK, BLOCK + 1, 10_001)


def misaligned(values, offset):
    """Copy of the values, ``offset`` elements from a multiple of 16 bytes."""
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 16 + offset * values.itemsize
    made = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    made[...] = values
    return made


def rows_for(function, dtype, sizes, offsets):
    """Rows of arrays, and scalars, that the function makes something of."""
    rng = np.random.default_rng(0)
    rows = [
        tuple(misaligned(rng.random(n).astype(dtype) + 0.25, offset(k)) for k in range(len(function.columns)))
        for n, offset in zip(sizes, offsets, strict=True)
    ]
    scalars = rng.random(len(function.scalars) + 2 * function.scaled) + 0.1
    if function.indexed:  # a threshold, and the words of a key
        scalars[0], scalars[-4:] = 2.0**22, (1, 2, 3, 4)
    return rows, scalars


def copied(rows):
    """Arrays that lie as these do."""
    return [tuple(misaligned(a, address(a) % 16 // a.itemsize) for a in row) for row in rows]


def typed(scalars, dtype):
    """Kernel scalars of the array's dtype, at least one."""
    return tuple(dtype.type(x) for x in scalars) or (dtype.type(0),)


def run_sweep(table, scalars, blocks=3, control=0):
    pieces = np.ascontiguousarray(table.blocks)
    kernel = grid.native(grid.sweep(table.function, table.storages))
    numbers = table.addresses.ctypes.data, pieces.ctypes.data, len(pieces), control, 0
    kernel(blocks, *numbers, typed(scalars, table.computed))


def launch_here(table, scalars):
    """By the CPU's own kernel, that for one core: half as long to compile."""
    with gn.use_target("cpu"):
        launch([(table, scalars)])


def assert_same_rows(rows, expected):
    for k, (row, other) in enumerate(zip(rows, expected, strict=True)):
        for j, (x, y) in enumerate(zip(row, other, strict=True)):
            assert_same_bits(x, y, f"row {k}, column {j}")


@EACH_SHAPE
def test_sweeps_at_any_alignment(function, dtype):
    """All arrays alike, all at one odd offset, each at its own."""
    ways = [lambda k: 0, lambda k: 1, lambda k: 3, lambda k: k % 4]
    sizes, offsets = zip(*((n, way) for n in SIZES for way in ways), strict=True)
    rows, scalars = rows_for(function, dtype, sizes, offsets)
    expected = copied(rows)
    launch_here(Table(function, expected), scalars)
    run_sweep(Table(function, rows), scalars)
    assert_same_rows(rows, expected)


@pytest.mark.parametrize("blocks", [1, 2, 200])
def test_any_number_of_blocks(blocks, dtype):
    rows, scalars = rows_for(gn.rules.adam._kernel, dtype, SIZES, [lambda k: 1] * len(SIZES))
    expected = copied(rows)
    launch_here(Table(gn.rules.adam._kernel, expected), scalars)
    run_sweep(Table(gn.rules.adam._kernel, rows), scalars, blocks)
    assert_same_rows(rows, expected)


def test_rows_are_left_alone(dtype):
    rows, scalars = rows_for(gn.rules.adam._kernel, dtype, (9, 17, 5000), [lambda k: 0] * 3)
    expected = copied(rows)
    for each in (expected, rows):
        table = Table(gn.rules.adam._kernel, each)
        table.leave_out(1)
        launch_here(table, scalars) if each is expected else run_sweep(table, scalars)
    assert_same_rows(rows, expected)
    assert_same_rows(
        rows[1:2], copied(rows_for(gn.rules.adam._kernel, dtype, (9, 17), [lambda k: 0] * 2)[0])[1:]
    )


def test_a_control_gives_the_factor_and_whether_to_go(dtype):
    """In place of the step's own, whose sign it keeps."""
    rows, scalars = rows_for(gn.rules.adam._kernel, dtype, (9, 5000), [lambda k: 0] * 2)
    scalars[-1] = -1.0
    expected = copied(rows)
    control = np.full(CONTROL, 7.0)
    control[GO], control[FACTORS[dtype] :][:2] = 0.0, (0.5, 0.3)
    run_sweep(Table(gn.rules.adam._kernel, rows), scalars, control=control.ctypes.data)
    assert_same_rows(rows, expected)
    control[GO] = 1.0
    run_sweep(Table(gn.rules.adam._kernel, rows), scalars, control=control.ctypes.data)
    launch_here(Table(gn.rules.adam._kernel, expected), np.append(scalars[:-2], [0.5, -0.3]))
    assert_same_rows(rows, expected)


@EACH_SHAPE
def test_flat_rows(function, dtype):
    for offset in (lambda k: 0, lambda k: k % 3):
        (row,), scalars = rows_for(function, dtype, [10_001], [offset])
        (expected,) = copied([row])
        launch_here(Table(function, [expected]), scalars)
        kernel = grid.native(grid.flat(function, storages_of(row)))
        kernel(2, tuple(map(address, row)), row[0].size, typed(scalars, dtype))
        assert_same_rows([row], [expected])


@pytest.mark.parametrize("made", [gn.rules.adam, gn.silu, gn.dropout], ids=lambda made: made.name)
@pytest.mark.parametrize("layout", layouts.WRITABLE.values(), ids=layouts.WRITABLE)
def test_walks(made, layout, dtype):
    rng, function = np.random.default_rng(0), made._kernel
    values = [rng.random((33, 7)).astype(dtype) for _ in function.columns]
    row, expected = tuple(map(layout, values)), tuple(map(layout, values))
    scalars = rows_for(function, dtype, [1], [lambda k: 0])[1]
    launch_here(Table(function, [expected]), scalars)
    lines, table = by_lines(row, function.indexed), np.array([address(a) for a in row])
    where = table.ctypes.data, lines.ctypes.data, len(lines), row[0].size, 0, 0
    grid.native(grid.walk(function, storages_of(row)))(3, *where, typed(scalars, dtype))
    assert_same_rows([row], [expected])


# Sums.


class Norms:
    """Arguments and results of the kernels of norms."""

    def __init__(self, slots=1, blocks=3, scale=1.0, limit=-1.0, skip=0):
        self.slots, self.blocks, self.policy = slots, blocks, (scale, limit, skip)
        self.counter, self.totals, self.control = (
            np.zeros(1, np.int64),
            np.zeros(3 * slots),
            np.zeros(CONTROL),
        )

    def take(self, x, slot=0):
        """Of a dense array, which is the second of three columns."""
        self.take_column(Table(gn.rules.heavy_ball._kernel, [(x, x, x)]), 1, slot)

    def take_column(self, table, column, slot=0):
        x = table.rows[0][column]
        pieces = np.ascontiguousarray(table.blocks)
        scratch = np.full(3 * len(pieces) + 1, np.nan)
        grid.native(sums.squares(storage_of(x)))(
            self.blocks, table.addresses.ctypes.data, 3, 1, column, pieces.ctypes.data, len(pieces),
            *self._rest(scratch, slot),
        )  # fmt: skip

    def take_strided(self, x, slot=0):
        lines = by_lines((x,))
        scratch = np.full(3 * (x.size // BLOCK + 1), np.nan)
        grid.native(sums.strided_squares(storage_of(x)))(
            self.blocks, address(x), lines.ctypes.data, len(lines), x.size,
            *self._rest(scratch, slot),
        )  # fmt: skip

    def _rest(self, scratch, slot):
        arrays = scratch, self.counter, self.totals
        where = *(a.ctypes.data for a in arrays), slot, self.slots, self.control.ctypes.data
        return *where, *self.policy


@pytest.mark.parametrize("blocks", [1, 3, 50])
@pytest.mark.parametrize("size", [1, 15, 16, BLOCK - 1, BLOCK + 1, 50_001])
def test_norms_have_the_bits_of_the_cpu(size, blocks, dtype):
    x = np.random.default_rng(0).standard_normal(size).astype(dtype)
    norms = Norms(blocks=blocks)
    norms.take(x)
    assert norms.control.tolist() == [gn.global_norm(x)] + [1.0] * 6
    assert norms.counter[0] == 0
    norms.take_strided(np.repeat(x, 2)[::2])
    assert norms.control[0] == gn.global_norm(x)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_norm_of_any_column_leaves_out_what_the_table_does(column, dtype):
    """Rows without a gradient; those with gaps, which have a kernel of their own, come once."""
    rng = np.random.default_rng(0)
    rows = [tuple(rng.standard_normal((3, n)).astype(dtype)) for n in (40, 5000, 70)]
    rows.append(tuple(rng.standard_normal((3, 60, 2)).astype(dtype)[:, :, 0]))
    table = Table(gn.rules.heavy_ball._kernel, rows)
    table.leave_out(1)
    squares = [float((row[column].astype(np.float64) ** 2).sum()) for row in rows]
    found, _ = norm.finite_norm([table], column, 1.0)
    np.testing.assert_allclose(found, math.sqrt(squares[0] + squares[2] + squares[3]), rtol=1e-14)
    assert [x.size for x in table.column(column)] == [40, 70, 60]
    norms = Norms()
    norms.take_column(table, column)  # whose dense rows alone have this kernel
    np.testing.assert_allclose(norms.control[0], math.sqrt(squares[0] + squares[2]), rtol=1e-14)


@pytest.mark.parametrize("scale", [1e300, 1e200, 1e-200, 5e-324])
def test_norms_of_large_and_small_numbers(scale):
    x = np.random.default_rng(0).integers(1, 9, 5000) * scale
    norms = Norms()
    norms.take(x)
    assert norms.control[0] == gn.global_norm(x)


def test_norms_of_several_slots(dtype):
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(n).astype(dtype) for n in (5000, 70, 9))
    norms = Norms(slots=3)
    for slot, x in enumerate((a, b, c)):
        norms.take(x, slot)
    np.testing.assert_allclose(norms.control[0], gn.global_norm([a, b, c]), rtol=4e-16)


@pytest.mark.parametrize(
    ("x", "policy", "control"),
    [
        ([3.0, 4.0], {"limit": 2.5}, [5.0, 0.5, 1.0, 1.0]),
        ([3.0, 4.0], {"limit": 7.0}, [5.0, 1.0, 1.0, 1.0]),
        ([3.0, 4.0], {"scale": 2.0}, [2.5, 0.5, 1.0, 1.0]),
        ([3.0, 4.0], {"scale": 2.0, "limit": 1.25}, [2.5, 0.25, 1.0, 1.0]),
        ([3.0, 4.0], {"limit": np.inf, "skip": 1}, [5.0, 1.0, 1.0, 1.0]),
        ([np.inf, 4.0], {"limit": 1.0}, [np.inf, np.nan, 1.0, 0.0]),
        ([np.inf, 4.0], {}, [np.inf, 1.0, 1.0, 0.0]),
        ([3.0, np.nan], {"skip": 1}, [np.nan, 1.0, 0.0, 0.0]),
        ([-np.inf, 4.0], {"skip": 1, "limit": 1.0}, [np.inf, np.nan, 0.0, 0.0]),
        ([0.0, 0.0], {"limit": 1.0}, [0.0, 1.0, 1.0, 1.0]),
    ],
)
def test_what_follows_from_the_norm(x, policy, control, dtype):
    norms = Norms(**policy)
    norms.take(np.array(x, dtype))
    norm, by, *rest = control
    np.testing.assert_array_equal(norms.control, [norm, *rest, 1.0, by, 1.0, by])


LARGE, SMALL = 3e38, 1e-40


@pytest.mark.parametrize(
    ("kind", "value", "policy"),
    [
        ("float32", LARGE, {"limit": 1.0}),
        ("float32", LARGE, {"limit": 1e-5, "scale": 1e3}),
        ("float32", SMALL, {"scale": 1e-40}),
        ("float64", 1e307, {"limit": 1e-5}),
        ("float64", 1e-310, {"scale": 1e-310}),
    ],
)
def test_factors_beyond_what_a_dtype_holds(kind, value, policy):
    """The device's are the host's, and those of the other dtype too."""
    x = np.full(7, value, kind)
    norms = Norms(**policy)
    norms.take(x)
    by = factor(norms.control[NORM], policy.get("limit", -1.0), policy.get("scale", 1.0))
    assert norms.control.tolist()[FACTORS[np.dtype("float32")] :] == [
        number for dtype in FACTORS for number in by.split(dtype)
    ]
    assert by.split(np.dtype(kind))[0] != 1.0


@pytest.mark.parametrize(
    "values", [(np.inf, 1.0), (1.0, np.inf), (np.nan, 1.0), (1.0, np.nan), (np.inf, np.nan)]
)
def test_inf_and_nan_in_one_of_several_slots(values, dtype):
    norms = Norms(slots=2, skip=1)
    for slot, x in enumerate(values):
        norms.take(np.array([x], dtype), slot)
    assert not np.isfinite(norms.control[0])
    assert norms.control[[GO, FINITE]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("size", [1, 2047, 2049, 9999])
def test_sums_have_the_bits_of_the_cpu(size, dtype):
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((2, size)).astype(dtype)
    scratch, counter, result = np.zeros(size // 2048 + 1), np.zeros(1, np.int64), np.zeros(1)
    rest = size, scratch.ctypes.data, counter.ctypes.data, result.ctypes.data
    grid.native(sums.total(OF_DTYPE[dtype]))(3, address(x), *rest)
    assert result[0] == HOST.total(x)
    dx = np.empty_like(x)
    summed = grid.native(sums.summed(gn.prelu._summed, alike(gn.prelu._summed, dtype)))
    summed(3, tuple(map(address, (dy, x, dx))), *rest, (dtype.type(0.25),))
    expected, share = gn.prelu.backward(dy, x, 0.25)
    assert_same_bits(dx, expected)
    assert dtype.type(result[0]) == share
    assert counter[0] == 0


def test_sums_along_axes(dtype):
    x = np.random.default_rng(0).standard_normal((4, 3, 700)).astype(dtype).transpose(2, 1, 0)
    out = np.empty(3, dtype)
    axes = np.array([(x.shape[k], x.strides[k]) for k in (1, 0, 2)])
    at = axes.ctypes.data
    grid.native(sums.along(OF_DTYPE[dtype]))(2, address(x), at, 1, 3, at + 16, 2, 2800, address(out))
    np.testing.assert_allclose(out, x.sum((0, 2), dtype=np.float64), rtol=8 * np.finfo(dtype).eps)


def test_rows_that_are_named_more_than_once(dtype):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((6, 5)).astype(dtype)
    order, starts, out = np.array([4, 0, 3, 5, 1, 2]), np.array([0, 1, 4, 6]), np.empty((3, 5), dtype)
    where = address(values), address(order), address(starts), 3, 5, address(out)
    grid.native(sums.gathered(OF_DTYPE[dtype]))(2, *where)
    assert_same_bits(out, np.add.reduceat(values[order].astype(np.float64), starts[:-1]).astype(dtype))


# Functions along an axis.

SOFTMAX, BACK, SOFT = gn.softmax._forward, gn.softmax._backward, losses.SOFT


def along(function, row, axis, scalars=(), labels=None, blocks=3, across=0, in_blocks=False):
    """Run the bodies over a row of arrays of three axes; the rows' losses, for a function that has them."""
    out, kind = row[-1], (function, row[-1].dtype)
    rest = [k for k in range(3) if k != axis]
    axes = np.array([[out.shape[k], *(x.strides[k] for x in row)] for k in rest], np.int64)
    rows, width = math.prod(out.shape[k] for k in rest), out.shape[axis]
    found, told = np.full(rows, np.nan), np.zeros(1, np.int64)
    if labels is not None:
        told = rowwise_grid.told(address(labels), labels, -1, 1.0)
    given = 0 if labels is None else told.ctypes.data
    at = tuple(map(address, row)), tuple(x.strides[axis] for x in row), axes.ctypes.data, 2, rows, width
    to, numbers = found.ctypes.data if function.loss else 0, tuple(map(float, scalars)) or (0.0,)
    if not in_blocks:
        bits = (grid.THREADS // rowwise_grid.tile(width)).bit_length() - 1
        grid.native(rowwise_grid.tiles(*kind))(blocks, *at, bits, across, given, to, 0, numbers)
        return found
    each = -(-width // row_steps.BLOCK)
    parts, made = np.full((rows, function.sums + 1, each), np.nan), np.full((rows, 4), np.nan)
    where = parts.ctypes.data, made.ctypes.data
    one, two, three = (grid.native(make(*kind)) for make in rowwise_grid.BODIES_OF_BLOCKS)
    one(blocks, *at, across, given, 0, where[0], numbers)
    two(blocks, *at, given, to, *where, numbers)
    three(blocks, *at, across, given, 0, *where, numbers)
    return found


def assert_along(function, shape, axis, dtype, **how):
    rng = np.random.default_rng(0)
    reads = [3 * rng.standard_normal(shape).astype(dtype) for _ in function.reads]
    out, expected = (np.full(shape, np.nan, dtype) for _ in range(2))
    HOST.run_along(function, (*reads, expected), axis)
    along(function, (*reads, out), axis, **how)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("across", [0, 1])
@pytest.mark.parametrize("width", [1, 2, 10, 33, 257, 1000, 2048])
def test_rows_several_at_a_time(width, across, dtype):
    """More rows than a tile has, and fewer; any axis."""
    shape = (3, width, max(1, 700 // width))
    assert_along(SOFTMAX, shape, 1, dtype, across=across)
    if dtype == np.float32:
        assert_along(BACK, shape, 1, dtype, across=across)
        assert_along(gn.log_softmax._forward, shape[::-1], 1, dtype, across=across)
        assert_along(gn.log_softmax._backward, (width, 2, 3), 0, dtype, across=across, blocks=50)


@pytest.mark.parametrize("function", [SOFTMAX, BACK], ids=lambda function: function.name)
@pytest.mark.parametrize("width", [7, 2049, 6000])
def test_rows_in_blocks(function, width):
    for across, blocks in ((0, 1), (1, 3), (0, 50)):
        assert_along(function, (2, width, 2), 1, np.dtype("f4"), across=across, blocks=blocks, in_blocks=True)


def test_a_row_may_be_its_own_result(dtype):
    x = 3 * np.random.default_rng(0).standard_normal((2, 300, 3)).astype(dtype)
    expected = gn.softmax(x, 1)
    along(SOFTMAX, (x, x), 1)
    assert_same_bits(x, expected)


def test_rows_that_are_infinite_or_nan():
    x = np.zeros((1, 6, 2500), np.float32)
    x[0, 0, 1], x[0, 1, 2400], x[0, 2], x[0, 3, 2], x[0, 4, :2100] = np.inf, np.nan, -np.inf, -np.inf, -np.inf
    for width, in_blocks in ((2500, True), (2048, False)):
        y = np.ascontiguousarray(x[..., :width])
        expected, out = gn.softmax(y), np.empty_like(y)
        along(SOFTMAX, (y, out), 2, in_blocks=in_blocks)
        assert_same_bits(out, expected)


@pytest.mark.parametrize("kind", ["int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"])
@pytest.mark.parametrize("width", [3, 2500])
def test_labelled_rows(kind, width):
    """Some are ignored; of every kind of integer, and with gaps."""
    rng, is_ignored = np.random.default_rng(0), kind.startswith("int")
    x = 3 * rng.standard_normal((2, width, 9)).astype(np.float32)
    labels = np.repeat(rng.integers(0, min(width, 100), (2, 9)).astype(kind), 2, axis=1)[:, ::2]
    if is_ignored:
        labels[1, 3:5] = -1
    wanted, gradient = gn.losses.softmax_cross_entropy(
        x, labels, ignore=-1 if is_ignored else None, axis=1, reduction="none"
    )
    out = np.full_like(x, np.nan)
    found = along(losses.HARD, (x, out), 1, (1.0,), labels, in_blocks=width > row_steps.BLOCK)
    assert_same_bits(out, gradient)
    assert_same_bits(found.astype(np.float32).reshape(2, 9), wanted)


@pytest.mark.parametrize("width", [3, 300, 2500])
def test_rows_with_probabilities(width):
    rng = np.random.default_rng(0)
    x, t = 3 * rng.standard_normal((2, 2, 9, width)).astype(np.float32)
    w, out = rng.random(width).astype(np.float32), np.full_like(x, np.nan)
    wanted, gradient = gn.losses.softmax_cross_entropy(x, t, weight=w, label_smoothing=0.1, reduction="none")
    row, scalars = (x, t, np.broadcast_to(w, x.shape), out), (1.0, 0.9, 0.1 / width)
    found = along(SOFT, row, 2, scalars, in_blocks=width > row_steps.BLOCK)
    assert_same_bits(out, gradient)
    assert_same_bits(found.astype(np.float32).reshape(2, 9), wanted)


def test_intrinsics_serve_two_compilers():
    """Each has one generator for one signature: numba before 0.67 would mix up those of a CPU and a GPU."""
    makers = {
        name: made
        for module in (memory, lanes, primitives)
        for name, made in vars(module).items()
        if isinstance(made, _Intrinsic)
    }
    assert {"get", "put", "moved", "fma"} <= set(makers)
    row = storages_of([np.empty(0), np.empty(0)])
    for make in (memory.loader, memory.storer, lanes.lane_loader, lanes.lane_storer):
        makers[make.__name__] = make(row, (0, 1))
    for name, made in makers.items():
        assert hasattr(made._defn, "__wrapped__"), name
    pair = types.UniTuple(types.int64, 2)
    for _ in range(2):
        first, second = (memory.moved._defn(None, pair, pair, types.int64) for _ in range(2))
        assert first == second
