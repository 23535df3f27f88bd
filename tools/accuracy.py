"""Measure the largest error of every activation, derivative and elementary function.

`python tools/accuracy.py` tries all 2³² float32 inputs of each and 10⁸ float64 inputs, and prints a
table in Markdown; `benchmarks/accuracy.md` is one. It fails if a row is worse than its limit.

Rows are of what gnumba exports, so that a new activation has its own; `LIMITS` has those that may not
err as far as others. float32 is compared with the function itself in float64, and that with the formula
in long double of `tools/exact.py`: the second half of the table vouches for the first one's references.

Errors are in units in the last place (ulp) of the result, subnormal results included. nan for a number,
or a number for nan, counts as an infinite error, and so does an overflow where the exact result has none.
Beside them: whether a function that rises everywhere, or falls, does so from each float32 to the next;
and the range of its results, which may not leave that of the function.
"""

import argparse
import contextlib
import ctypes
import datetime
import functools
import inspect
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path

import llvmlite
import numba
import numpy as np

import gnumba as gn
from gnumba import elementary
from gnumba._nn import activations, gated

sys.path.insert(0, str(Path(__file__).parent))
import exact

BLOCK = 2**16
ZEROS = np.zeros(BLOCK + 1)
DTYPES = np.float32, np.float64
USUAL, USUAL_SLOPE = (2.5, 3.0), (4.0, 4.5)  # limits in ulp, in float32 and float64
LIMITS = {
    "abs": (0.0, 0.0),
    "elu": (1.0, 1.0),
    "elu′": (1.0, 1.0),
    "exp": (1.0, 1.0),
    "expm1": (1.2, 1.35),
    "geglu": (3.0, 3.5),
    "gelu": (3.0, 3.5),
    "log": (1.0, 1.0),
    "log1p": (1.0, 1.0),
    "selu": (1.2, 1.3),
    "sign": (0.0, 0.0),
    "sqrt": (0.5, 0.5),
    "tanh": (1.0, 1.2),
    "tanh′ from y": (0.51, 0.51),  # rounded once, and its reference too
}
LIMITS |= dict.fromkeys(["relu", "relu6", "hard_tanh", "hard_shrink", "reglu"], (0.0, 0.0))
LIMITS |= dict.fromkeys(["leaky_relu", "prelu", "soft_shrink"], (0.5, 0.5))
# Hyperparameters instead of the defaults, the first without its number in the row's name.
HYPER = {"prelu": [(0.25,)], "softplus": [(1.0,), (0.75,)], "celu": [(1.0,), (0.75,)]}
EXPONENTS = 2.4, -0.3, 17.0
LARGEST_ANGLES = tuple(float(limit) for limit in (elementary.SIN_IS_NAN.float32, elementary.SIN_IS_NAN))
# Where a function is asked, in float32 and float64, if not everywhere; exp_below is 0 left of it.
DOMAINS = {
    "exp_below": ((-87.0, 0.0), (-708.0, 0.0)),
    "cos": tuple((-limit, limit) for limit in LARGEST_ANGLES),
    "sin": tuple((-limit, limit) for limit in LARGEST_ANGLES),
    "sine": tuple((-limit / 32.0, limit / 32.0) for limit in LARGEST_ANGLES),
}


@dataclass(frozen=True)
class Row:
    """A function of an array, its formula in long double, its limits in ulp in float32 and float64."""

    name: str
    function: Callable
    formula: Callable
    limits: tuple[float, float] = USUAL
    domains: tuple[tuple[float, float], tuple[float, float]] = ((-inf, inf), (-inf, inf))
    backward: Callable | None = None  # what has to have the same bits, for dy = 1

    @functools.cached_property
    def shape(self):
        """Whether the function rises (1), falls (−1) or neither (0), and its extremes, by the formula."""
        low, high = self.domains[1]
        x = np.concatenate([np.linspace(0.0, 50.0, 5_001), np.geomspace(1e-30, 1e30, 200), [inf, low, high]])
        x = np.unique(np.concatenate([-x, x])).astype(np.longdouble)
        with np.errstate(all="ignore"):
            x = x[(x >= low) & (x <= high)]
            y = self.formula(x)
            x, y = x[y == y], y[y == y]
            steps = np.where(y[1:] == y[:-1], 0.0, np.diff(y))
            noise = 1e-17 * np.abs(y[1:])
            way = 1 if (steps >= -noise).all() else -1 if (steps <= noise).all() else 0
            return way, self.lowest(x, y, 1.0), self.lowest(x, y, -1.0)

    def lowest(self, x, y, sign):
        """The lowest y, or the highest with −1, nearer and nearer to where it is among x."""
        best = np.min(sign * y)
        for _ in range(10):
            k = int(np.argmin(sign * y))
            around = x[max(k - 1, 0)], x[min(k + 1, x.size - 1)]
            if not np.isfinite([*around, y[k]]).all():
                break
            x = np.linspace(*around, 101)
            y = self.formula(x)
            best = min(best, np.min(sign * y))
        return sign * best

    def within(self, dtype):
        """The lowest and the highest result that there may be: rounded at an extreme, or where x ends."""
        way, *ends = self.shape
        ends = np.array(ends).astype(dtype).astype(np.float64)
        inner = ((way == 0) | (self.domains[0][1] < inf)) & (ends != np.round(8.0 * ends) / 8.0)
        ulps = self.limits[DTYPES.index(dtype)] * np.finfo(dtype).eps
        inner &= np.isfinite(ends)
        return np.where(inner, ends + [-ulps, ulps] * np.where(inner, np.abs(ends), 0.0), ends)


def rows(acts=None):
    """Every function that there is to measure: elementary ones, and those of activations, by default all."""
    if acts is None:
        named = [getattr(module, name) for module in (activations, gated) for name in module.__all__]
        acts = dict.fromkeys(act for act in named if isinstance(act, gn.Activation))
    made = [row for name in elementary.__all__ for row in of_elementary(name)]
    return made + [row for act in acts for row in of_activation(act)]


def of_elementary(name):
    """The row of a function of one number with one result, and those of powers."""
    function = getattr(elementary, name)
    if name == "pow":
        for p in map(rounded, EXPONENTS):
            yield make_row(f"pow {p:.3g}", name, compiled(lambda x, p: function(x, p), name), (p,))
    elif (
        callable(function)
        and len(inspect.signature(function).parameters) == 1
        and isinstance(function(0.5), float)
    ):
        yield make_row(name, name, compiled(lambda x: function(x), name))


def compiled(function, name):
    """A scalar function as one of arrays; a lambda around it, as some have a name in this module too."""
    function.__name__ = name
    return gn.activation(derivative=function)(function)


def rounded(x):
    """A number that is one in float32 too."""
    return float(np.float32(x))


def of_activation(act):
    """The rows of an activation: f, f′ with the backward pass from x, and f′ from y if it has that."""
    pair = len(act._kernel.reads) == 2

    def of_gate(x, *hyper):
        return act(np.ones_like(x), x, *hyper) if pair else act(x, *hyper)

    def derivative(x, *hyper):
        return act.derivative(np.ones_like(x), x, *hyper)[1] if pair else act.derivative(x, *hyper)

    def backward(x, *hyper):
        one = np.ones_like(x)
        made = act.backward(one, one, x, *hyper) if pair else act.backward(one, x, *hyper)
        return made[-1] if pair else made[0] if act is gn.prelu else made

    def from_y(y, *hyper):
        return act.backward(np.ones_like(y), None, *hyper, y=y)

    usual = HYPER.get(act.name) or [tuple(map(rounded, act._defaults))]
    for hyper in usual:
        name = act.name if hyper == usual[0] else f"{act.name} {hyper[0]:g}"
        made = make_row(name, act.name, of_gate, hyper)
        yield made
        slope = f"{act.name}_derivative"
        back = functools.partial(by_hyper, backward, hyper)
        yield make_row(f"{name}′", slope, derivative, hyper, domains=made.domains, backward=back)
        if act._backward_from_y is not None:
            # y + λα cancels as y nears −λα: there the error is that of the constant, half an ulp of 1.76
            domain = (-1.5, inf) if act is gn.selu else tuple(map(float, made.shape[1:]))
            yield make_row(f"{name}′ from y", f"{slope}_from_y", from_y, hyper, domains=(domain, domain))


def make_row(name, formula, function, hyper=(), **given):
    """A row, by the names of limits, domain and formula."""
    found = getattr(exact, formula, None)
    if found is None:
        raise LookupError(f"tools/exact.py has no {formula}, the formula of {name} in long double")
    kind = name if name in LIMITS else name.partition(" ")[0]
    given.setdefault("domains", DOMAINS.get(kind, Row.domains))
    limits = LIMITS.get(kind, USUAL_SLOPE if "′" in name else USUAL)
    wide = tuple(map(np.longdouble, hyper))
    return Row(
        name,
        *(functools.partial(by_hyper, f, h) for f, h in ((function, hyper), (found, wide))),
        limits,
        **given,
    )


def by_hyper(function, hyper, x):
    """The function with these hyperparameters."""
    return function(x, *hyper)


def in_float64(row, x):
    """The reference for float32: the function in float64, and what its rounding lost: nothing that counts."""
    return row.function(x.astype(np.float64)), None


def in_long_double(row, x):
    """The formula's result, rounded to float64, and what that lost, perhaps less than float64 can hold."""
    reference = row.formula(x.astype(np.longdouble))
    high = reference.astype(np.float64)
    return high, np.where(np.isfinite(high), reference - high, 0.0)


@numba.njit(nogil=True, error_model="numpy")
def errors(y, exact, rest, nmant, minexp, top, beyond):
    """|y - exact - rest| in ulp of the exact result; ``rest`` is in ulp.

    inf where one of them is nan and the other not. From ``top`` on a result is ±inf; an inf for a smaller
    one counts as ``beyond``, the number after the largest.
    """
    found, bits = np.empty(y.size), exact.view(np.int64)
    for i in range(y.size):
        value, reference = np.float64(y[i]), exact[i]
        power = nmant - max((bits[i] >> 52 & 2047) - 1023, minexp)
        half = power >> 1  # 2^power may overflow
        finite = math.copysign(beyond, value) if abs(value) == inf else value
        size = abs((finite - reference) * pow2(half) * pow2(power - half) - rest[i])
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
    info, lost = np.finfo(y.dtype), ZEROS[: y.size]
    if rest is not None:
        exponents = (reference.view(np.int64) >> 52 & 2047) - 1023
        lost = np.ldexp(rest, info.nmant - np.maximum(exponents, int(info.minexp))).astype(np.float64)
    narrow = y.dtype == np.float32
    top = float(info.max) * (1.0 + float(info.eps) / 4) if narrow else inf
    beyond = 2.0**info.maxexp if narrow else inf
    return errors(y, reference, lost, info.nmant, int(info.minexp), top, beyond)


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


def measure(row, x, reference=in_long_double, ascending=False, thorough=True):
    """Measure a row's function at these inputs; thoroughly, the bits of the backward pass too."""
    with np.errstate(all="ignore"), gn.use_target("cpu"):
        y = row.function(x)
        found = in_ulp(y, *reference(row, x))
        low, high = row.domains[DTYPES.index(x.dtype)]
        if (low, high) != (-inf, inf):
            outside = (x < low) | (x > high)
            found[outside], y = 0.0, np.where(outside, np.nan, y)
        worst = int(found.argmax())
        seen = Seen(float(found[worst]), float(x[worst]))
        if ascending and row.shape[0]:
            seen.descents = np.count_nonzero(y[1:] < y[:-1] if row.shape[0] > 0 else y[1:] > y[:-1])
        if thorough and row.backward is not None:
            unequal = row.backward(x).view(f"u{x.itemsize}") != y.view(f"u{x.itemsize}")
            seen.unequal = np.count_nonzero(unequal & (y == y))
        lowest, highest = row.within(x.dtype.type)
        seen.lowest, seen.highest = float(np.fmin.reduce(y)), float(np.fmax.reduce(y))
        seen.outside = int(seen.lowest < lowest) + int(seen.highest > highest)
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

    def part(lo):
        x = ordered(max(lo - 1, 0), lo + BLOCK)
        return measure(row, x, in_float64, True, thorough=lo // BLOCK % 16 == 0)

    return _over(part, range(0, 2**32, BLOCK * step))


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
    edges[::7] = elementary.SILU_MINIMUM + rng.uniform(-1.0, 1.0, edges[::7].size) * 2.0 ** rng.uniform(
        -50, -2
    )
    ulps = rng.integers(-3, 4, edges.size) * info.eps
    return np.concatenate(
        [anywhere, usual, tail.astype(dtype), moderate.astype(dtype), (edges * (1.0 + ulps)).astype(dtype)]
    )


def failures(row, seen, dtype):
    """Yield a description of each limit that a row fails."""
    if not seen.error <= row.limits[DTYPES.index(dtype)]:
        yield f"{seen.error:.2f} ulp at {seen.at!r}"
    if seen.descents:
        yield f"{seen.descents} steps the wrong way"
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
    parser.add_argument("--part", default="1/1", help="k/n: the k-th of n equal parts of the rows")
    parser.add_argument("--step", type=int, default=1, help="try each n-th block of float32 (default: all)")
    parser.add_argument("--count", type=float, default=1e8, help="float64 inputs a function")
    chosen = parser.parse_args()
    took, bad = time.perf_counter(), []
    rows_asked = [row for row in rows() if chosen.only in row.name]
    part, parts = map(int, chosen.part.split("/"))
    print("| function | float32: ulp | at | monotone | range | float64: ulp | at |")
    print("|---|---|---|---|---|---|---|")
    for row in rows_asked[len(rows_asked) * (part - 1) // parts : len(rows_asked) * part // parts]:
        single, double = every_float32(row, chosen.step), many_float64(row, int(chosen.count))
        monotone = f"no, {single.descents}" if single.descents else "yes" if row.shape[0] else ""
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
