"""Ways for an array to lie in memory: each makes, from C-contiguous values, an equal array laid out so."""

import numpy as np

SHAPES = {
    "0-d": (),
    "empty": (0,),
    "empty 2-d": (3, 0),
    "one": (1,),
    "17": (17,),
    "2-d": (33, 7),
    "large": (100_003,),
}


def fortran(values):
    """Columns first."""
    return np.asfortranarray(values)


def gaps(values):
    """Every second row, and every third column from the second, of something larger."""
    rows, columns = values.shape
    whole = np.full((2 * rows, 3 * columns + 1), 7.0, values.dtype)
    view = whole[::2, 1::3]
    view[...] = values
    return view


def backwards(values):
    """Negative strides on every axis."""
    whole = np.flip(values).copy()
    return np.flip(whole)


def permuted(values):
    """A 3-d array whose axes lie in memory in the order 1, 2, 0."""
    shape = (values.shape[0] // 3, 3, values.shape[1])
    return np.ascontiguousarray(values.reshape(shape).transpose(1, 2, 0)).transpose(2, 0, 1)


def unaligned(values):
    """An odd number of bytes from where the machine would like it."""
    memory = np.zeros(values.nbytes + 1, np.uint8)
    view = memory[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


def of_a_record(values):
    """One field of a packed record: strides that are no multiple of the element."""
    records = np.zeros(values.shape, [("tag", "i1"), ("value", values.dtype)])
    records["value"] = values
    return records["value"]


def broadcast(values):
    """0-strides: every row is the first. Equal to ``values`` in that row only, and read-only."""
    return np.broadcast_to(values[:1].copy(), values.shape)


WRITABLE = {f.__name__: f for f in (fortran, gaps, backwards, permuted, unaligned, of_a_record)}
