"""Random bits that are a function of where an element stands, and dropout made of them.

No generator is advanced: the bits of element i are a hash of i and of the key, so that any thread,
target or backward pass finds them again. Integers are below 2³², and their products are cut to 64
bits by compiled code and not by Python, which the masks make the same.
"""

from ..elementary import fma, where

__all__ = ["alpha_dropout", "dropout", "philox"]

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85


def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: four random words of a counter and a key. Salmon, Moraes, Dror & Shaw 2011."""
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32 & MASK) ^ c1 ^ k0, p1 & MASK, (p0 >> 32 & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return c0, c1, c2, c3


def is_dropped(i, threshold, key0, key1, key2, key3):
    """Whether 24 random bits of element i are below the threshold, rate·2²⁴ (all exact in float32)."""
    word, _, _, _ = philox(i & MASK, i >> 32 & MASK, int(key2), int(key3), int(key0), int(key1))
    return word >> 8 < int(threshold)


def dropout(i, x, threshold, scale, key0, key1, key2, key3):
    """0 where dropped, else x/(1 − p). Srivastava et al. 2014."""
    return where(is_dropped(i, threshold, key0, key1, key2, key3), 0.0, scale * x)


def alpha_dropout(i, x, threshold, slope, shift, dropped, key0, key1, key2, key3):
    """a·α′ + b where dropped, else a·x + b. Klambauer et al. 2017, arXiv:1706.02515."""
    return where(is_dropped(i, threshold, key0, key1, key2, key3), dropped, fma(slope, x, shift))
