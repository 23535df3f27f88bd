"""Storages of 16 bits: how a float32 is kept in a code, and what it is again.

A code is a word, an element's bits. Rounding is to nearest, of two as near to the even one, as IEEE 754 has
it, but for the split of a float32 in two codes.
"""

from ..elementary import where
from ..words import add, band, bits, bor, bxor, half_bits, half_real, real, shl, shr, sub

__all__ = [
    "bfloat16_code",
    "bfloat16_number",
    "float16_code",
    "float16_number",
    "high_code",
    "joined",
    "low_code",
    "low_number",
    "taken_up",
]


def float16_number(code):
    """The number that a float16 is."""
    return half_real(code)


def float16_code(x):
    """The float16 nearest to a float32."""
    return half_bits(x)


def bfloat16_number(code):
    """The number that a bfloat16 is: the upper half of a float32."""
    return real(shl(code, 16))


def bfloat16_code(x):
    """The bfloat16 nearest to a float32; nan keeps its sign and becomes quiet."""
    word = bits(x)
    nearest = shr(add(add(word, 0x7FFF), band(shr(word, 16), 1)), 16)
    return nearest if x == x else bor(shr(word, 16), 0x40)


# A float32 as the bfloat16 nearest to it, of two as near the larger, and what its bits are more, an int16.


def _quiet(x):
    """Bits of a float32, of nan the one whose bfloat16 is nan."""
    return bits(x) if x == x else 0x7FC00000


def high_code(x):
    """The bfloat16 of a float32 in two parts."""
    return shr(add(_quiet(x), 0x8000), 16)


def low_code(x):
    """The other part."""
    return band(_quiet(x), 0xFFFF)


def low_number(code):
    """A number that carries that part, whatever it means."""
    return real(code)


def joined(p, low):
    """The float32 whose parts a bfloat16 and such a number are; p where that is nan, as p is new."""
    x = real(add(bits(p), sub(bxor(bits(low), 0x8000), 0x8000)))
    return where(x == x, x, p)


def taken_up(p, master):
    """The master of a float16; that itself where it is not the master's, as somebody else wrote it."""
    return where(half_real(half_bits(master)) == p, master, p)
