"""Base of what stands for an optimizer: attributes that are those of the optimizer inside."""

from __future__ import annotations

import copy
from typing import Any, Self

from .._params import Params
from .._suggest import Suggesting, no_attribute

OF_OPTIMIZERS = {"rule", "groups", "max_norm", "nonfinite", "skipped", "grad_norm"}


class Forwarding(Suggesting):
    """An optimizer around another: it has the hyperparameters of that, to be read and set."""

    _optimizer: Any
    passed_further: frozenset[str] = frozenset()  # attributes of its own that one around it has too

    @property
    def optimizer(self) -> Any:
        """The optimizer inside."""
        return self._optimizer

    @property
    def _params(self) -> Params:
        made: Params = self._optimizer._params
        return made

    def _passed_on(self) -> set[str]:
        """Attributes of the optimizer inside that are this one's too."""
        inside = self.__dict__.get("_optimizer")
        if isinstance(inside, Forwarding):
            return inside._passed_on() | inside.passed_further
        return set() if inside is None else OF_OPTIMIZERS | set(inside._names) | set(inside._flags)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._passed_on():
            raise no_attribute(self, name, dir(self))
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            super().__setattr__(name, value)
        elif name in self._passed_on():
            setattr(self._optimizer, name, value)
        else:
            raise no_attribute(self, name, dir(self))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._passed_on()})

    def _kept(self) -> list[Any]:
        """Containers that a shallow copy shares with its original."""
        return list(self._params.containers)

    def __copy__(self) -> Self:
        """One for these very parameters, with states, counts and schedules of its own."""
        return copy.deepcopy(self, {id(each): each for each in self._kept()})
