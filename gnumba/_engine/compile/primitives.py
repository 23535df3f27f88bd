"""The primitives of elementary.py and words.py as LLVM instructions.

`specialize` puts `INTRINSICS[f]` where a rule calls `f`. They are `numba.extending` intrinsics,
which numba-cuda compiles too, and take arguments of one float type only: nothing widens or narrows
unseen.
"""

import math
import struct

from llvmlite import ir
from numba import types

from ... import elementary, words
from .intrinsics import intrinsic
from .numba_private import TypingError

__all__ = ["INTRINSICS"]


class Layout:
    """Where the bits of a float type are."""

    def __init__(self, llvm_type):
        double = isinstance(llvm_type, ir.DoubleType)
        self.mantissa = 52 if double else 23  # its width; the exponent stands above it
        self.bias = 1023 if double else 127
        self.magic = 1.5 * 2.0**self.mantissa  # x + magic has the integer x in its lowest bits
        self.int = ir.IntType(64 if double else 32)
        self.formats = ("<d", "<q") if double else ("<f", "<i")

    def bits(self, value):
        """The integer that has the bits of the float `value`."""
        as_float, as_int = self.formats
        return struct.unpack(as_int, struct.pack(as_float, value))[0]


def one_float_type(name, *args):
    """The float type that all of `args` have."""
    if len(set(args)) > 1 or args[0] not in (types.float32, types.float64):
        given = ", ".join(map(str, args))
        raise TypingError(f"{name} takes floats of one type (write 2.0, not 2); got {given}")
    return args[0]


def emit_fma(builder, a, b, c):
    t = a.type
    # with the argument types alone llvmlite declares a wrong signature
    function = builder.module.declare_intrinsic("llvm.fma", [t], ir.FunctionType(t, [t, t, t]))
    return builder.call(function, [a, b, c])


@intrinsic
def fma(typing, a, b, c):
    t = one_float_type("fma", a, b, c)

    def codegen(context, builder, signature, args):
        return emit_fma(builder, *args)

    return t(t, t, t), codegen


@intrinsic
def horner(typing, x, coefficients):
    if not isinstance(coefficients, types.UniTuple):
        raise TypingError(f"horner takes a tuple of floats of one type; got {coefficients}")
    t = one_float_type("horner", x, coefficients.dtype)

    def codegen(context, builder, signature, args):
        *lower, total = (builder.extract_value(args[1], k) for k in range(len(coefficients)))
        for coefficient in reversed(lower):
            total = emit_fma(builder, args[0], total, coefficient)
        return total

    return t(x, coefficients), codegen


@intrinsic
def pow2(typing, n):
    t = one_float_type("pow2", n)

    def codegen(context, builder, signature, args):
        (n,) = args
        at = Layout(n.type)
        # no conversion to an integer (undefined for nan): the addition leaves n in the lowest bits,
        # and the shift drops magic's own
        shifted = builder.bitcast(builder.fadd(n, n.type(at.magic)), at.int)
        exponent = builder.add(shifted, at.int(at.bias))
        return builder.bitcast(builder.shl(exponent, at.int(at.mantissa)), n.type)

    return t(t), codegen


@intrinsic
def split_exponent(typing, x):
    t = one_float_type("split_exponent", x)

    def codegen(context, builder, signature, args):
        (x,) = args
        at = Layout(x.type)
        one = at.bias << at.mantissa  # the bits of 1.0
        bits = builder.bitcast(x, at.int)
        # biased = e + bias > 0: a logical shift, which every vector unit has for 64 bits too
        raised = builder.add(bits, at.int(one - at.bits(elementary.SQRT_HALF)))
        biased = builder.lshr(raised, at.int(at.mantissa))
        m = builder.add(builder.sub(bits, builder.shl(biased, at.int(at.mantissa))), at.int(one))
        # to a float without a conversion: AVX2 has none for 64-bit integers
        e = builder.bitcast(builder.add(biased, at.int(at.bits(at.magic))), x.type)
        e = builder.fsub(e, x.type(at.magic + at.bias))
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(m, x.type), e])

    return types.UniTuple(t, 2)(t), codegen


@intrinsic
def where(typing, condition, a, b):
    t = one_float_type("where", a, b)

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return t(types.boolean, t, t), codegen


# Of words: whatever integers are given, they are cut to 32 bits, and sums stay there.

WORD, HALF = ir.IntType(32), ir.IntType(16)


def conversion(result, given, emit):
    """An intrinsic from a word or a float32 to the other."""

    @intrinsic
    def convert(typing, x):
        return result(given), lambda context, builder, signature, args: emit(builder, args[0])

    return convert


def emit_half_bits(builder, x):
    """F16C's conversion where there is one, LLVM's function elsewhere."""
    return builder.zext(builder.bitcast(builder.fptrunc(x, ir.HalfType()), HALF), WORD)


def emit_half_real(builder, word):
    return builder.fpext(builder.bitcast(builder.trunc(word, HALF), ir.HalfType()), ir.FloatType())


def operation(name):
    """One of LLVM's on two words."""

    @intrinsic
    def operate(typing, a, b):
        return types.uint32(types.uint32, types.uint32), lambda _, builder, signature, args: getattr(
            builder, name
        )(*args)

    return operate


OF_WORDS = {
    words.bits: conversion(types.uint32, types.float32, lambda builder, x: builder.bitcast(x, WORD)),
    words.real: conversion(
        types.float32, types.uint32, lambda builder, x: builder.bitcast(x, ir.FloatType())
    ),
    words.half_bits: conversion(types.uint32, types.float32, emit_half_bits),
    words.half_real: conversion(types.float32, types.uint32, emit_half_real),
    words.add: operation("add"),
    words.sub: operation("sub"),
    words.mul: operation("mul"),
    words.band: operation("and_"),
    words.bor: operation("or_"),
    words.bxor: operation("xor"),
    words.shl: operation("shl"),
    words.shr: operation("lshr"),
}

INTRINSICS = OF_WORDS | {
    elementary.fma: fma,
    elementary.horner: horner,
    elementary.pow2: pow2,
    elementary.split_exponent: split_exponent,
    elementary.sqrt: math.sqrt,
    elementary.where: where,
}
