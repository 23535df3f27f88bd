"""Storages that are not what is computed in, on every target: decode → rule → encode, bit for bit.

None of these is public: codes of fixed point are taken as columns of tables here only, as any might be.
"""

import layouts
import numba
import numpy as np
import pytest
from judge import assert_same_bits
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from test_grid import misaligned, run_sweep

import gnumba as gn
from gnumba._engine import grid, lanes, norm
from gnumba._engine.launch import launch
from gnumba._engine.lines import by_lines
from gnumba._engine.storage import OF_DTYPE, Storage
from gnumba._engine.table import PickedRows, Table
from gnumba._engine.view import address

FLOAT32, FLOAT64 = (OF_DTYPE[np.dtype(name)] for name in ("float32", "float64"))


@intrinsic
def half_to_float(typing, code):
    def generate(context, builder, signature, args):
        half = builder.bitcast(builder.trunc(args[0], ir.IntType(16)), ir.HalfType())
        return builder.fpext(half, ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def float_to_half(typing, x):
    def generate(context, builder, signature, args):
        half = builder.fptrunc(args[0], ir.HalfType())
        return builder.zext(builder.bitcast(half, ir.IntType(16)), ir.IntType(32))

    return types.uint32(types.float32), generate


def half_of(code):
    return half_to_float(code)


def of_half(x):
    return float_to_half(x)


STEPS = 4096.0


def fixed_of(code):
    """A number from the bits of an int16, in steps of 2⁻¹²."""
    whole = code - 65536 if code >= 32768 else code
    return np.float32(whole) / STEPS


def of_fixed(x):
    """Rounded towards zero, and no further than an int16 goes."""
    steps = min(max(x * STEPS, -32768.0), 32767.0)
    return np.uint32(np.int64(steps) & 65535)


HALF = Storage("float16", np.dtype(np.float16), np.dtype(np.float32), half_of, of_half)
FIXED = Storage("fixed16", np.dtype(np.int16), np.dtype(np.float32), fixed_of, of_fixed)


def decoded(storage, x):
    if storage is FIXED:
        return x.astype(np.float32) / np.float32(STEPS)
    return x.astype(storage.computed)


def encoded(storage, x):
    if storage is FIXED:
        return np.clip(x * np.float32(STEPS), -32768.0, 32767.0).astype(np.int16)
    return x.astype(storage.kept)


def momentum(p, g, m, /, lr, beta):
    m = beta * m + g
    return p - lr * m, m


MOMENTUM = gn.Rule(momentum)
RULE = MOMENTUM._kernel
SCALARS = np.array([0.1, 0.9, 1.0, 0.3])  # and the gradient's factors
MADE = {
    "state": (FLOAT32, FLOAT32, HALF),
    "parameter": (HALF, FLOAT32, FLOAT32),
    "all": (HALF, HALF, HALF),
    "mixed": (FIXED, HALF, FIXED),
}
SIZES = (0, 1, 3, 17, 4095, 10_001)
kept = pytest.mark.parametrize("kept", MADE.values(), ids=MADE)
kept_on_each_target = pytest.mark.parametrize(
    ("kept", "target"), [*((kept, "cpu") for kept in MADE.values()), (MADE["mixed"], "parallel")],
    ids=[*MADE, "mixed parallel"],
)  # fmt: skip


def row_of(kept, shape, seed=0):
    """Arrays of these storages."""
    values = np.random.default_rng(seed).standard_normal((len(kept), *np.atleast_1d(shape)))
    return tuple(encoded(each, x.astype(np.float32)) for each, x in zip(kept, values, strict=True))


def stepped(kept, row, scalars=SCALARS):
    """The row after a step, by NumPy."""
    p, g, m = (decoded(each, x) for each, x in zip(kept, row, strict=True))
    lr, beta, _, factor = scalars.astype(np.float32)
    p, m = momentum(p, g * factor, m, lr, beta)
    return encoded(kept[0], p), row[1], encoded(kept[2], m)


def assert_rows(rows, expected):
    for k, (row, other) in enumerate(zip(rows, expected, strict=True)):
        for j, (x, y) in enumerate(zip(row, other, strict=True)):
            assert x.dtype == y.dtype
            assert_same_bits(x, y, f"row {k}, column {j}")


@kept_on_each_target
def test_sweeps(kept, target):
    rows = [row_of(kept, n, n) for n in SIZES]
    expected = [stepped(kept, row) for row in rows]
    with gn.use_target(target):
        launch([(Table(RULE, rows, kept), SCALARS)])
    assert_rows(rows, expected)
    assert any((row[2] != row[1]).any() for row in rows[1:])


def laid_out(row):
    """The row with a layout of its own for each column, and for the first."""
    return layouts.gaps(row[0]), layouts.fortran(row[1]), layouts.backwards(row[2])


@kept_on_each_target
def test_strided_rows(kept, target):
    row = laid_out(row_of(kept, (33, 7)))
    expected = stepped(kept, row)
    with gn.use_target(target):
        launch([(Table(RULE, [row], kept), SCALARS)])
    assert_rows([row], [expected])


@kept
def test_some_rows(kept):
    whole, rows = row_of(kept, (9, 5)), np.array([1, 4, 8])
    g = np.ascontiguousarray(whole[1][rows])
    p, _, m = stepped(kept, (whole[0][rows], g, whole[2][rows]))
    expected = tuple(x.copy() for x in whole)
    expected[0][rows], expected[2][rows] = p, m
    launch([(PickedRows(RULE, (whole[0], g, whole[2]), rows, kept), SCALARS)])
    assert_rows([whole], [expected])


@kept
@pytest.mark.parametrize("offsets", [(0, 0, 0), (2, 2, 2), (1, 2, 3)])
def test_a_grid(kept, offsets):
    """16 bytes of float32 at a time, 8 of what is half as wide; one by one where columns differ."""
    rows = [tuple(map(misaligned, row_of(kept, n, n), offsets)) for n in SIZES]
    expected = [stepped(kept, row) for row in rows]
    run_sweep(Table(RULE, rows, kept), SCALARS)
    assert_rows(rows, expected)


def test_lanes_of_narrow_columns():
    """Columns begin together where their elements do, however wide these are."""
    of_row = lanes.phases((FLOAT32, HALF))
    phase = numba.njit(lambda addresses: of_row(addresses))
    assert phase((64, 128)) == 0
    assert phase((72, 132)) == 8  # two elements further
    assert phase((72, 136)) == phase((64, 130)) == -1
    assert phase((66, 129)) & 3 != 0


@kept
def test_a_grid_with_strides(kept):
    row = laid_out(row_of(kept, (33, 7)))
    expected = stepped(kept, row)
    lines, table = by_lines(row), np.array([address(x) for x in row])
    where = table.ctypes.data, lines.ctypes.data, len(lines), row[0].size, 0, 0
    grid.native(grid.walk(RULE, kept))(3, *where, tuple(SCALARS.astype(np.float32)))
    assert_rows([row], [expected])


def test_a_gpu_loads_narrow_columns_together():
    """Four elements in one access of 8 bytes, or 16 in float32; they are converted by single instructions."""
    from test_device import computed_in_double, shown  # skips without the compiler

    counts, registers, stack = shown(grid.sweep(RULE, MADE["state"]), "sm_90")
    assert any(name.startswith("LDG.E.128") for name in counts)
    assert any(name.startswith("STG.E.64") for name in counts)
    assert any(name.startswith(("HADD2.F32", "F2FP", "F2F.F16")) for name in counts)
    assert computed_in_double(counts) == {}
    assert stack == 0
    assert registers < 64


@pytest.mark.parametrize(("gradients", "target"), [(HALF, "cpu"), (FIXED, "parallel")], ids=["half", "fixed"])
def test_norms(gradients, target):
    """Of what the elements are, in float64: those of the same numbers kept as float32."""
    kept = FLOAT32, gradients, FLOAT32
    rows = [row_of(kept, n, n) for n in SIZES] + [laid_out(row_of(kept, (33, 7)))]
    wide = [(p, decoded(gradients, g), m) for p, g, m in rows]
    with gn.use_target(target):
        found, expected = (norm.norm([(table, 1)]) for table in (Table(RULE, rows, kept), Table(RULE, wide)))
    assert found == expected > 100.0


def test_columns_are_computed_in_one_dtype():
    x = np.zeros(3)
    with pytest.raises(TypeError, match="float64 and float32, expected one dtype"):
        Table(RULE, [(x, x, x.astype(np.float16))], (FLOAT64, FLOAT64, HALF))


def test_bytes_are_those_kept():
    """They decide how many cores take part."""
    n = 1000
    plain = Table(RULE, [row_of((FLOAT32,) * 3, n)])
    assert Table(RULE, [row_of(MADE["state"], n)], MADE["state"]).traffic == plain.traffic * 16 // 20
