"""By what results, and compiled code, are judged."""

import functools
import inspect
import re

import numpy as np


def on_each(names, cases):
    """Decorator: parametrize a test that takes less time than pytest does for each of its cases.

    It is one for pytest; a note to what is raised names the case.
    """
    names, cases = [name.strip() for name in names.split(",")], list(cases)

    def over_all(test):
        @functools.wraps(test)
        def run(**fixtures):
            for case in cases:
                values = getattr(case, "values", case)
                try:
                    test(**dict(zip(names, values, strict=True)), **fixtures)
                except BaseException as error:  # what pytest raises is no Exception
                    error.add_note(f"The case: {getattr(case, 'id', None) or case}")
                    raise

        taken = inspect.signature(test)
        left = [each for name, each in taken.parameters.items() if name not in names]
        run.__signature__ = taken.replace(parameters=left)
        return run

    return over_all


def assert_close(result, expected, dtype, scale=0.0, what=""):
    """To a few roundings of the value, or of numbers as large as ``scale``; subnormals may be 0."""
    limits = np.finfo(dtype)
    with np.errstate(over="ignore"):
        expected = np.asarray(expected).astype(dtype)
    assert np.asarray(result).dtype == dtype
    assert np.shape(result) == np.shape(expected)
    few = 16 * limits.eps
    atol = few * scale + 8 * limits.tiny
    np.testing.assert_allclose(result, expected, rtol=few, atol=atol, err_msg=what)


def assert_same_bits(result, expected, what=""):
    """The sign of zero counts; one nan is as good as another."""
    np.testing.assert_array_equal(result, expected, err_msg=what)
    signs = [np.signbit(array) & ~np.isnan(array) for array in (result, expected)]
    np.testing.assert_array_equal(*signs, err_msg=f"{what}, the sign of zero")


def computed_in_double(llvm):
    """Lines of LLVM that compute in float64; unpacking the scalars and rounding them is none."""
    arithmetic = r"\b(fadd|fsub|fmul|fdiv|frem|fneg|fcmp)\b.* double\b|<\d+ x double>|\bfpext\b|\.f64\("
    return [line for line in llvm.splitlines() if re.search(arithmetic, line) and "declare" not in line]


def computed_in_vectors(asm):
    """Instructions that compute or compare packed float32 in the widest registers."""
    return re.findall(r"\bv(?:add|sub|mul|div|sqrt|min|max|cmp\w*|fn?m\w+)ps\b.*%[yz]mm", asm)
