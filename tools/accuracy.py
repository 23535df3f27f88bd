"""Measure the largest error of every activation, derivative and elementary function.

`python tools/accuracy.py` tries all 2³² float32 inputs of each and 10⁸ float64 inputs, and prints a
table in Markdown; `benchmarks/accuracy.md` is one. It fails if a row is worse than its limit.

The references of float32 are the formulas in float64, as gnumba compiles them from its own
elementary functions; those of float64 are the same formulas in NumPy's long double (64 bits of
mantissa on x86-64), which the C library computes. So the second half of the table vouches for the
references of the first. Errors are in units in the last place (ulp) of the result, subnormal results
included. Beside them: whether a function that should be monotone is, from each input to the next, in
float32; and the range of its results. nan for a number, or a number for nan, counts as an infinite
error, and so does an overflow where the exact result has none.
"""

import argparse
import contextlib
import ctypes
import datetime
import functools
import math
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf

import llvmlite
import numba
import numpy as np

import gnumba as gn
from gnumba import elementary

BLOCK = 2**16
SILU_MINIMUM = -1.2784645427610737, -1.0946994183093437e-16  # where SiLU's derivative is 0, and the rest
SLOPE, ALPHA = 0.01, 0.25
DTYPES = np.float32, np.float64


def references(library, number):
    """The formulas, none of which cancels, by the functions of a library and numbers of a type.

    ``library`` is gnumba.elementary or numpy, ``number`` makes a number of a float or of decimal digits.
    """
    exp, expm1, log, log1p, sqrt = (getattr(library, n) for n in ("exp", "expm1", "log", "log1p", "sqrt"))
    tanh, where, clip = library.tanh, library.where, library.clip
    scale = number("1.0507009873554804934193349852946")
    scale_alpha = scale * number("1.6732632423543772848170429916717")
    slope, alpha = number(float(np.float32(SLOPE))), ALPHA
    high, low = map(number, SILU_MINIMUM)
    at_minimum = -1.0 - high - low  # eˣ there, as 1 + x + eˣ is 0

    def sigmoid(x):
        e = exp(-abs(x))
        return where(x < 0.0, e, 1.0) / (1.0 + e)

    def sigmoid_derivative(x):
        e = exp(-abs(x))
        return e / ((1.0 + e) * (1.0 + e))

    def tanh_derivative(x):
        e = exp(-2.0 * abs(x))
        return 4.0 * e / ((1.0 + e) * (1.0 + e))

    def relu(x):
        return where(x <= 0.0, 0.0, x)

    def relu_derivative(x):
        return where(x <= 0.0, 0.0, where(x > 0.0, 1.0, x))

    def leaky_relu(x):
        return where(x > 0.0, x, slope * x)

    def leaky_relu_derivative(x):
        return where(x > 0.0, 1.0, where(x <= 0.0, slope, x))

    def prelu(x):
        return where(x > 0.0, x, alpha * x)

    def prelu_derivative(x):
        return where(x > 0.0, 1.0, where(x <= 0.0, alpha, x))

    def elu(x):
        return where(x < 0.0, expm1(where(x < 0.0, x, 0.0)), x)

    def elu_derivative(x):
        return where(x > 0.0, 1.0, exp(where(x > 0.0, 0.0, x)))

    def selu(x):
        return where(x < 0.0, scale_alpha * expm1(where(x < 0.0, x, 0.0)), scale * x)

    def selu_derivative(x):
        return where(x > 0.0, scale, scale_alpha * exp(where(x > 0.0, 0.0, x)))

    def silu(x):
        x = where(x < -2000.0, -2000.0, x)
        return x * sigmoid(x)

    def silu_derivative(x):
        x = clip(x, -2000.0, 2000.0)
        e, d = exp(-abs(x)), (x - high) - low
        near = abs(d) < 0.5
        left = where(near, d + at_minimum * expm1(where(near, d, 0.0)), 1.0 + x + e)
        return where(x < 0.0, e * left, 1.0 + e * (1.0 + x)) / ((1.0 + e) * (1.0 + e))

    def sigmoid_derivative_from_y(y):
        return y * (1.0 - y)

    def tanh_derivative_from_y(y):
        return (1.0 - y) * (1.0 + y)

    def elu_derivative_from_y(y):
        return where(y > 0.0, 1.0, y + 1.0)

    def selu_derivative_from_y(y):
        return where(y > 0.0, scale, y + scale_alpha)

    return {name: value for name, value in locals().items() if callable(value)}


@dataclass(frozen=True)
class Row:
    """A function, its reference's name, its limits in ulp in float32 and float64, its range."""

    name: str
    function: object
    reference: str
    limits: tuple[float, float] = (0.5, 0.5)
    monotone: bool = False
    range: tuple[float, float] = (-inf, inf)
    domain: tuple[float, float] = (-inf, inf)  # of a derivative from y: f's range
    backward: object = None  # what has to have the same bits, for dy = 1


def rows():
    """Every function that there is to measure."""
    made = []
    for name, limits, monotone in (
        ("exp", (1.0, 1.0), True),
        ("expm1", (1.2, 1.35), True),
        ("log", (1.0, 1.0), True),
        ("log1p", (1.0, 1.0), True),
        ("sqrt", (0.5, 0.5), True),
    ):
        function = getattr(elementary, name)
        made.append(Row(name, gn.activation(derivative=function)(function), name, limits, monotone))
    for act, limits, slope_limits, monotone, extent in (
        (gn.tanh, (1.0, 1.2), (4.0, 4.0), True, (-1.0, 1.0)),
        (gn.sigmoid, (2.5, 2.5), (4.0, 4.0), True, (0.0, 1.0)),
        (gn.silu, (2.5, 2.5), (4.0, 4.0), False, (-0.27846457, inf)),
        (gn.elu, (1.0, 1.0), (1.0, 1.0), True, (-1.0, inf)),
        (gn.selu, (1.2, 1.3), (2.5, 2.5), True, (-1.7580994, inf)),
        (gn.relu, (0.0, 0.0), (0.0, 0.0), True, (0.0, inf)),
        (gn.leaky_relu, (0.5, 0.5), (0.0, 0.0), True, (-inf, inf)),
        (gn.prelu, (0.5, 0.5), (0.0, 0.0), True, (-inf, inf)),
    ):
        made += _of_activation(act, limits, slope_limits, monotone, extent)
    return made


def _of_activation(act, limits, slope_limits, monotone, extent):
    """The rows of an activation: f, f′ with the backward pass from x, and f′ from y if it has that."""
    hyper = {"leaky_relu": (float(np.float32(SLOPE)),), "prelu": (ALPHA,)}.get(act.name, ())

    def backward(x):
        made = act.backward(np.ones_like(x), x, *hyper)
        return made[0] if isinstance(made, tuple) else made

    def from_y(y):
        return act.backward(np.ones_like(y), None, y=y)

    name, slope = act.name, f"{act.name}_derivative"
    yield Row(name, lambda x: act(x, *hyper), name, limits, monotone, extent)
    yield Row(f"{name}′", lambda x: act.derivative(x, *hyper), slope, slope_limits, backward=backward)
    if f"{slope}_from_y" in FORMULAS:
        # y + λα cancels as y nears -λα: there the error is that of the constant, half an ulp of 1.76
        domain = (-1.5, inf) if act is gn.selu else extent
        limit = {"selu": 2.5, "tanh": 0.51}.get(name, 1.5)  # 1 − y² is rounded once, and its reference too
        yield Row(f"{name}′ from y", from_y, f"{slope}_from_y", (limit, limit), domain=domain)


FORMULAS = references(elementary, float)  # scalar functions
WIDE = references(np, np.longdouble)  # of arrays


@functools.cache
def compiled(name):
    return gn.activation(derivative=FORMULAS[name])(FORMULAS[name])


def in_float64(name, x):
    """The reference for float32, and what its rounding lost: nothing that counts."""
    return compiled(name)(x.astype(np.float64)), np.zeros(x.size)


def in_long_double(name, x):
    """The reference, rounded to float64, and what that lost, which may be less than float64 can hold."""
    reference = WIDE[name](x.astype(np.longdouble))
    rounded = reference.astype(np.float64)
    return rounded, np.where(np.isfinite(rounded), reference - rounded, 0.0)


@numba.njit(nogil=True, error_model="numpy")
def errors(y, exact, rest, power, top, beyond):
    """|y - exact - rest| in ulp of the exact result, which is 2^-power; ``rest`` is in ulp.

    inf where one of them is nan and the other not. From ``top`` on a result is ±inf; an inf for a smaller
    one counts as ``beyond``, the number after the largest.
    """
    found = np.empty(y.size)
    for i in range(y.size):
        value, reference = np.float64(y[i]), exact[i]
        half = power[i] >> 1  # 2^power may overflow
        finite = math.copysign(beyond, value) if abs(value) == inf else value
        size = abs((finite - reference) * pow2(half) * pow2(power[i] - half) - rest[i])
        infinite = abs(reference) >= top
        right = (infinite & (value == math.copysign(inf, reference))) | (
            (value != value) & (reference != reference)
        )
        size = size if (size == size) & ~infinite else inf
        found[i] = 0.0 if right else size
    return found


@numba.njit
def pow2(k):
    return np.int64((k + 1023) << 52).view(np.float64)


def in_ulp(y, reference, rest):
    """The errors of y."""
    info, exponents = np.finfo(y.dtype), (reference.view(np.int64) >> 52 & 2047) - 1023
    power = info.nmant - np.maximum(exponents, int(info.minexp))
    if rest.dtype == np.longdouble:
        rest = np.ldexp(rest, power).astype(np.float64)
    narrow = y.dtype == np.float32
    top = float(info.max) * (1.0 + float(info.eps) / 4) if narrow else inf
    return errors(y, reference, rest, power, top, 2.0**info.maxexp if narrow else inf)


@dataclass
class Seen:
    """Findings in some inputs: the worst error and its input; descents; the range; unequal bits."""

    error: float = -1.0
    at: float = 0.0
    descents: int = 0
    lowest: float = inf
    highest: float = -inf
    unequal: int = 0
    outside: int = 0

    def add(self, other):
        if other.error > self.error:
            self.error, self.at = other.error, other.at
        self.descents += other.descents
        self.unequal += other.unequal
        self.outside += other.outside
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)


def measure(row, x, exact=in_long_double, ascending=False):
    """Measure a row's function at these inputs."""
    with np.errstate(all="ignore"), gn.use_target("cpu"):
        y = row.function(x)
        found = in_ulp(y, *exact(row.reference, x))
        if row.domain != (-inf, inf):
            found[(x < row.domain[0]) | (x > row.domain[1])] = 0.0
        worst = int(found.argmax())
        seen = Seen(float(found[worst]), float(x[worst]))
        if row.monotone and ascending:
            seen.descents = np.count_nonzero(y[1:] < y[:-1])
        if row.backward is not None:
            unequal = row.backward(x).view(f"u{x.itemsize}") != y.view(f"u{x.itemsize}")
            seen.unequal = np.count_nonzero(unequal & (y == y))
        seen.lowest, seen.highest = float(np.fmin.reduce(y)), float(np.fmax.reduce(y))
        seen.outside = int(seen.lowest < row.range[0]) + int(seen.highest > row.range[1])
    return seen


@numba.njit(nogil=True)
def ordered(lo, hi):
    """The float32 that are lo-th to (hi − 1)-th in ascending order, nan at both ends."""
    bits = np.empty(hi - lo, np.uint32)
    for i in range(bits.size):
        k = lo + i
        bits[i] = 2**32 - 1 - k if k < 2**31 else k - 2**31
    return bits.view(np.float32)


def every_float32(row, step=1):
    """All float32, or each step-th block of them, on all cores."""
    starts = range(0, 2**32, BLOCK * step)
    return _over(lambda lo: measure(row, ordered(max(lo - 1, 0), lo + BLOCK), in_float64, True), starts)


def many_float64(row, count):
    """Random bits, and numbers where functions have their edges and their worst."""
    return _over(lambda seed: measure(row, hard(np.float64, seed, BLOCK)), range(-(-count // BLOCK)))


def _over(task, parts):
    seen = Seen()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(task, parts):
            seen.add(part)
    return seen


def hard(dtype, seed, count):
    """Numbers of every exponent and both signs, subnormal ones, and the neighbours of edges.

    Edges are the ends and the ties of the range reduction of exp, which are multiples of log 2 and of
    half of it (and tanh's, which are half of that), where results become subnormal, and SiLU's minimum.
    """
    rng, info = np.random.default_rng(seed), np.finfo(dtype)
    each = count // 5
    drawn = rng.integers(0, 2 ** (8 * info.dtype.itemsize), each, np.uint64, endpoint=False)
    anywhere = drawn.astype(f"u{info.dtype.itemsize}").view(dtype)
    widest = math.log(2.0) * (info.maxexp + info.nmant)
    usual = (rng.uniform(-1.0, 1.0, each) * 2.0 ** rng.uniform(-30, math.log2(widest) + 0.2, each)).astype(
        dtype
    )
    tail = -widest + rng.uniform(-1.0, 1.0, each) * (info.nmant + 6.0)
    moderate = rng.uniform(-4.0, 4.0, each)
    k = rng.integers(-4 * info.maxexp, 4 * info.maxexp, count - 4 * each)
    edges = np.concatenate([0.25 * math.log(2.0) * k, 0.25 * math.log(2.0) * k + math.log(1.5)])[: k.size]
    edges[::7] = SILU_MINIMUM[0] + rng.uniform(-1.0, 1.0, edges[::7].size) * 2.0 ** rng.uniform(-50, -2)
    ulps = rng.integers(-3, 4, edges.size) * info.eps
    return np.concatenate(
        [anywhere, usual, tail.astype(dtype), moderate.astype(dtype), (edges * (1.0 + ulps)).astype(dtype)]
    )


def failures(row, seen, dtype):
    """Yield a description of each limit that a row fails."""
    if not seen.error <= row.limits[DTYPES.index(dtype)]:
        yield f"{seen.error:.2f} ulp at {seen.at!r}"
    if seen.descents:
        yield f"{seen.descents} descents"
    if seen.outside:
        yield f"range [{seen.lowest!r}, {seen.highest!r}]"
    if seen.unequal:
        yield f"{seen.unequal} backward results unlike the derivative"


def keep_memory():
    """Let glibc keep freed memory: giving it back, and zeroed pages for it, would take half the time."""
    with contextlib.suppress(AttributeError, OSError):
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            ctypes.CDLL(None).mallopt(option, 2**30)


def main():
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose names contain this")
    parser.add_argument("--step", type=int, default=1, help="try each n-th block of float32 (default: all)")
    parser.add_argument("--count", type=float, default=1e8, help="float64 inputs a function")
    chosen = parser.parse_args()
    took, bad = time.perf_counter(), []
    print("| function | float32: ulp | at | monotone | range | float64: ulp | at |")
    print("|---|---|---|---|---|---|---|")
    for row in rows():
        if chosen.only not in row.name:
            continue
        single, double = every_float32(row, chosen.step), many_float64(row, int(chosen.count))
        monotone = (
            {True: "yes", False: f"no, {single.descents}"}[single.descents == 0] if row.monotone else ""
        )
        print(
            f"| {row.name} | {single.error:.2f} | {single.at:.9g} | {monotone} "
            f"| {single.lowest:.9g} … {single.highest:.9g} | {double.error:.2f} | {double.at:.17g} |",
            flush=True,
        )
        bad += [f"{row.name}, float32: {text}" for text in failures(row, single, np.float32)]
        bad += [f"{row.name}, float64: {text}" for text in failures(row, double, np.float64)]
    inputs = "all 2³²" if chosen.step == 1 else f"1/{chosen.step} of all"
    print(
        f"\nfloat32: {inputs}; float64: {chosen.count:.0e}; in {time.perf_counter() - took:.0f} s on "
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}). "
        f"Python {platform.python_version()}, NumPy {np.__version__}, numba {numba.__version__}, "
        f"llvmlite {llvmlite.__version__}; {datetime.date.today()}."
    )
    for text in bad:
        print(text, file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
