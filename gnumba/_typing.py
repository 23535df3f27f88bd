"""Types of the public face: what arguments may be, for whoever checks a script with mypy or pyright."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsFloat, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ._optim.rows import Rows

__all__ = [
    "Array",
    "ArrayLike",
    "Carry",
    "DecayMask",
    "FloatArray",
    "Grads",
    "Hyper",
    "Hypers",
    "Nonfinite",
    "Number",
    "Params",
    "Path",
    "Place",
    "Schedule",
    "Seed",
    "Shape",
    "Size",
    "Target",
]


class _DLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


class _CudaArray(Protocol):
    @property
    def __cuda_array_interface__(self) -> Any: ...


# Arrays.
Array: TypeAlias = np.ndarray[Any, Any] | _DLPack | _CudaArray
FloatArray = TypeVar("FloatArray", bound=np.ndarray[Any, np.dtype[np.floating[Any]]])  # the same out as in
ArrayLike: TypeAlias = Array | SupportsFloat | Sequence[Any]
Params: TypeAlias = Array | Iterable[Any]  # lists and dicts of arrays, groups
Grads: TypeAlias = "Array | Rows | Iterable[Any] | None"
DecayMask: TypeAlias = Callable[[str, Any], bool] | None  # by a parameter's name and array

# Numbers: whatever of shape () has a value, of any library.
Number: TypeAlias = SupportsFloat
Schedule: TypeAlias = Callable[[int], SupportsFloat]
Hyper: TypeAlias = Number | Schedule
Hypers: TypeAlias = Sequence[Hyper] | np.ndarray[Any, Any] | Callable[[int], Sequence[SupportsFloat]]  # betas
Size: TypeAlias = int | Callable[[int], int] | None  # of a batch
Shape: TypeAlias = int | Sequence[int]
Seed: TypeAlias = (
    np.random.Generator | np.random.BitGenerator | np.random.SeedSequence | int | Sequence[int] | None
)

# Words.
Nonfinite: TypeAlias = Literal["apply", "skip", "raise"]
Carry: TypeAlias = Literal["reset", "momentum"]
Target: TypeAlias = Literal["cpu", "parallel"]
Place: TypeAlias = Literal["cpu", "parallel", "cuda"]
Path: TypeAlias = str | os.PathLike[str]
