"""float16 and bfloat16: arrays of 16 bits whose numbers are computed with in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._engine.launch import launch
from ._engine.storage import NARROW, OF_DTYPE, Storage
from ._engine.table import Table
from ._engine.view import BFLOAT16 as KEPT
from ._rule import Elementwise
from .rules.averages import itself
from .rules.storages import bfloat16_code, bfloat16_number, float16_code, float16_number

FLOAT16 = Storage("float16", np.dtype(np.float16), np.dtype(np.float32), float16_number, float16_code)
BFLOAT16 = Storage("bfloat16", KEPT, np.dtype(np.float32), bfloat16_number, bfloat16_code)
NARROW.update({each.name: each for each in (FLOAT16, BFLOAT16)})

ITSELF = Elementwise(itself, ("x",), ("y",))


def rounded(values: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Numbers as an array of a dtype, in C order; on their way to bfloat16 they are float32."""
    if dtype.kind == "f":
        return np.asarray(values, dtype, order="C")
    wide = np.asarray(values, np.float32, order="C")
    made = np.empty(wide.shape, KEPT)
    launch([(Table(ITSELF, [(wide, made)], (OF_DTYPE[wide.dtype], BFLOAT16)), np.empty(0))])
    return made.view(dtype)
