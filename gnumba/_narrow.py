"""float16 and bfloat16: arrays of 16 bits whose numbers are computed with in float32."""

from __future__ import annotations

import numpy as np

from ._engine.storage import NARROW, Storage
from ._engine.view import BFLOAT16 as KEPT
from .rules.storages import bfloat16_code, bfloat16_number, float16_code, float16_number

FLOAT16 = Storage("float16", np.dtype(np.float16), np.dtype(np.float32), float16_number, float16_code)
BFLOAT16 = Storage("bfloat16", KEPT, np.dtype(np.float32), bfloat16_number, bfloat16_code)
NARROW.update({each.name: each for each in (FLOAT16, BFLOAT16)})
