"""Words: integers of 32 bits, and the bits of floats in them, for scalar functions that convert storages.

numba makes 64 bits of every integer sum, which halves the lanes of a vector; these stay at 32. In plain
Python they run as they stand; compiled, they are machine instructions (_engine/compile/primitives.py).
"""

import struct

MASK = 0xFFFFFFFF


def bits(x):
    """Bits of a float32."""
    return int.from_bytes(struct.pack("<f", x), "little")


def real(word):
    """Inverse of `bits`."""
    return struct.unpack("<f", word.to_bytes(4, "little"))[0]


def half_bits(x):
    """Bits of the float16 nearest to a float32, of two as near the even one; nan stays nan."""
    try:
        return int.from_bytes(struct.pack("<e", x), "little")
    except OverflowError:
        return 0x7C00 if x > 0.0 else 0xFC00


def half_real(word):
    """Number whose float16 has the low 16 bits of a word."""
    return struct.unpack("<e", (word & 0xFFFF).to_bytes(2, "little"))[0]


def add(a, b):
    """Sum modulo 2³²."""
    return a + b & MASK


def sub(a, b):
    """Difference modulo 2³²."""
    return a - b & MASK


def mul(a, b):
    """Product modulo 2³²."""
    return a * b & MASK


def band(a, b):
    """Bits of both words."""
    return a & b


def bor(a, b):
    """Bits of either word."""
    return a | b


def bxor(a, b):
    """Bits of one of the words, and not of the other."""
    return a ^ b


def shl(a, count):
    """Bits shifted up by fewer than 32."""
    return a << count & MASK


def shr(a, count):
    """Bits shifted down by fewer than 32."""
    return a >> count


PRIMITIVES = (bits, real, half_bits, half_real, add, sub, mul, band, bor, bxor, shl, shr)
