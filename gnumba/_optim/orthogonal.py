"""Orthogonal steps: directions of whole matrices, whose singular values are all near 1."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import rules
from .._engine.arrays import as_view, empty_like, in_kind_of
from .._engine.launch import launch
from .._engine.libraries import is_tensor, library_of
from .._engine.place import HOST, Verdict, begin, place_of
from .._hyper import COUNT
from .._params import Part
from .._suggest import suggesting
from .._typing import DecayMask, Hyper, Nonfinite, Params
from ..rules.orthogonal import AHEAD
from .groups import Group
from .optimizer import Optimizer
from .plan import Bound, Memory
from .shared import RANGES

__all__ = ["Muon"]

QUINTIC = 3.4445, -4.7750, 2.0315  # steepest at 0; takes (0, 1] to about 0.7 to 1.2 in five steps
EPS = 1e-7  # a norm below it counts as it


class Muon(Optimizer):
    """Muon: momentum made orthogonal, a step that moves a matrix alike in all its directions.

    m ← μm + (1 − μ)g, u = μm + (1 − μ)g (m without ``nesterov``), X = u/‖u‖, ``ns_steps`` times
    X ← 3.4445X − 4.7750(XXᵀ)X + 2.0315(XXᵀ)²X, θ ← θ − η(√max(1, rows/columns)X + λθ). X has u's singular
    vectors, and singular values near 1. Its products are the ``matmul`` of the arrays' own library (NumPy,
    CuPy, PyTorch), in the parameters' dtype, one call for all matrices of a shape; a parameter's size is
    kept beside its state.

    Strengths: fewer steps than AdamW for the hidden layers of transformers, half its state, rates that hold
    from width to width. Weaknesses: matrices only, 5 · 3 products a step; no `Rows`; kernels of
    convolutions have to be seen as matrices.
    For: hidden layers' weights, beside AdamW for vectors, embeddings and the last layer.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        Matrices to update, in place; float32 or float64.
    lr : float or schedule, default 0.02
        η ≥ 0, usually 0.005 to 0.05.
    momentum : float or schedule, default 0.95
        μ in [0, 1), usually 0.9 to 0.98.
    nesterov : bool, default True
        Make the look-ahead orthogonal instead of m.
    ns_steps : int or schedule, default 5
        ≥ 1, usually 5: how often the polynomial is applied.
    weight_decay : float or schedule, default 0.1
        λ ≥ 0, usually 0.01 to 0.1, decoupled.
    max_norm, nonfinite, decay_mask, maximize
        As in `SGD`.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of range, there is no parameter, one is no matrix, cannot be updated in
        place or is of a library without ``matmul``; in a step for `Rows`.

    References
    ----------
    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; Liu et al. 2025, arXiv:2502.16982.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.zeros((2, 2))
    >>> gn.Muon(w, lr=1.0).step(np.array([[100.0, 0.0], [0.0, 1.0]]))
    >>> w.round(1)  # by the gradient the second would be a hundredth of the first
    array([[-0.7,  0. ],
           [ 0. , -0.7]])
    """

    ranges = MappingProxyType(RANGES | {"ns_steps": COUNT})

    @suggesting
    def __init__(
        self,
        params: Params,
        lr: Hyper = 0.02,
        *,
        momentum: Hyper = 0.95,
        nesterov: bool = True,
        ns_steps: Hyper = 5,
        weight_decay: Hyper = 0.1,
        max_norm: Hyper | None = None,
        nonfinite: Nonfinite = "apply",
        decay_mask: DecayMask = None,
        maximize: bool = False,
    ) -> None:
        hyper = {"lr": lr, "momentum": momentum, "ns_steps": ns_steps, "weight_decay": weight_decay}
        super().__init__(
            rules.muon, params, hyper,
            max_norm=max_norm, nonfinite=nonfinite, decay_mask=decay_mask,
            nesterov=nesterov, maximize=maximize,
        )  # fmt: skip

    def constants(self, hyper: Mapping[str, Any]) -> Mapping[str, float]:
        lr, mu = hyper["lr"], hyper["momentum"]
        return {"lr": lr, "pull": lr * hyper["weight_decay"], "mu": mu, "one_minus_mu": 1.0 - mu}

    def lend(self, bound: Bound, verdict: Verdict) -> None:
        """Fill the directions; a failure leaves nothing but these changed."""
        arrays = [_of_library(p.given, o) for p, o in zip(self._params, self._directions, strict=True)]
        views = [as_view(p.name, x) for p, x in zip(self._params, arrays, strict=True)] + bound.views
        begin(self._ahead.values(), views)
        work, alike = [], dict[Any, list[Any]]()
        missing = {p.index for p in bound.missing}
        for update in self._updates:
            hyper, table = update.filled_from, self._ahead[update.table]
            mu, factors = hyper["momentum"], update.scalars[-2:]
            scalars = np.array([mu, 1.0 - mu, float(self._flags["nesterov"]), *factors])
            work.append((table if update.rows is None else table.only(update.rows), scalars))
            for k in sorted(update.members - missing):
                p = self._params[k]
                key = p.place, library_of(arrays[k]), p.storage, p.array.shape, int(hyper["ns_steps"])
                alike.setdefault(key, []).append(arrays[k])
        launch(work, verdict)
        for (_, library, _, _, steps), members in alike.items():
            orthogonalize(members, steps, sys.modules[library])
        begin(self._plan.tables, views)

    def _lay_out(self, memories: Sequence[Memory]) -> None:
        self._directions = [empty_like(p.given, p.array) for p in self._params]
        super()._lay_out(memories)
        self._ahead = {table: table.under(AHEAD) for table in self._plan.tables}

    def _columns(self) -> Sequence[Mapping[str, Any]]:
        return [state | {"o": o} for state, o in zip(self._state, self._directions, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        return {name: value for name, value in kept.items() if name not in ("_ahead", "_directions")}

    def _group(self, k: int, part: Part, hyper: Mapping[str, Any]) -> Group:
        for name, x in zip(part.names, part.held(), strict=True):
            _check_matrix(name, x)
        return super()._group(k, part, hyper)


def _check_matrix(name: str, given: Any) -> None:
    """ValueError for what is no matrix, TypeError for one that its library cannot multiply."""
    x = as_view(name, given)
    if x.ndim != 2:
        raise ValueError(
            f"parameter {name} has shape {x.shape}, expected a matrix, of two axes: "
            "leave all others to an optimizer beside, such as AdamW"
        )
    if place_of(x) is not HOST and library_of(given) not in ("cupy", "torch"):
        raise TypeError(
            f"parameter {name} is a {type(given).__name__} on a device, which has no matmul, "
            "expected an array of CuPy or PyTorch"
        )


def _of_library(given: Any, x: Any) -> Any:
    """An array as the library of a parameter has it; on the host NumPy's, or a tensor."""
    return x if place_of(x) is HOST and not is_tensor(given) else in_kind_of(given, x)


def orthogonalize(matrices: Sequence[Any], steps: int, library: Any) -> None:
    """Replace matrices of one shape by √max(1, rows/columns) UVᵀ of their UΣVᵀ, roughly, in place."""
    rows, columns = matrices[0].shape
    if not rows * columns:
        return
    with _undisturbed(matrices[0], library):
        wide = [x.T if rows > columns else x for x in matrices]
        many = library.stack(wide) if len(wide) > 1 else wide[0][None]
        made = newton_schulz(many, steps, library) * math.sqrt(max(1.0, rows / columns))
        for x, values in zip(wide, made, strict=True):
            x[...] = values


def newton_schulz(x: Any, steps: int, library: Any) -> Any:
    """Matrices (k, r, c), r ≤ c, with their singular values taken near 1 by a quintic iteration."""
    a, b, c = QUINTIC
    largest = library.clip(library.amax(abs(x), axis=(1, 2), keepdims=True), 1e-30, None)
    x = x / largest  # so that no square overflows, or is lost
    x = x / library.clip(library.sqrt((x * x).sum(axis=(1, 2), keepdims=True)), EPS / largest, None)
    for _ in range(steps):
        gram = library.matmul(x, x.swapaxes(1, 2))
        x = a * x + library.matmul(b * gram + c * library.matmul(gram, gram), x)
    return x


@contextlib.contextmanager
def _undisturbed(x: Any, library: Any) -> Iterator[None]:
    """Context of x's device, without NumPy's warnings; in inference mode, where x may have been made."""
    within = contextlib.nullcontext()
    if is_tensor(x):
        within = library.inference_mode()
    elif place_of(as_view("matrix", x)) is not HOST:
        within = x.device
    with np.errstate(all="ignore"), within:
        yield
