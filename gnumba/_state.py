"""Whether a state dict is one that an optimizer can take up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._structure import outline


def check_fits(where: str, state: Any, mine: Any) -> None:
    """ValueError unless ``state`` is built as ``mine``; hyperparameters are looked at later."""
    if isinstance(mine, dict):
        if not isinstance(state, Mapping) or state.keys() != mine.keys():
            names = list(state) if isinstance(state, Mapping) else outline(state)
            raise ValueError(f"{where} has {names}, expected {list(mine)}")
        for key, value in mine.items():
            if where == "state" and key == "max_norm":
                continue
            if where != "state['groups']":
                check_fits(f"{where}[{key!r}]", state[key], value)
            elif not isinstance(state[key], Mapping) or state[key].keys() != value.keys():
                raise ValueError(f"{where}[{key!r}] is {state[key]!r}, expected the names {list(value)}")
    elif isinstance(mine, np.ndarray):
        given = (getattr(state, "dtype", type(state).__name__), getattr(state, "shape", ()))
        if given != (mine.dtype, mine.shape):
            raise ValueError(f"{where} is {given[0]} {given[1]}, expected {mine.dtype} {mine.shape}")
    elif isinstance(mine, str):
        if state != mine:
            raise ValueError(f"{where} is {state!r}, expected {mine!r}")
    elif not isinstance(state, (int, np.integer)) or state < 0:
        raise ValueError(f"{where} is {state!r}, expected a count")
