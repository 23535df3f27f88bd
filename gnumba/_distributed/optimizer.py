"""An optimizer over several ranks: an ordinary one of this rank's share, and the gradients of all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import signal
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from .._engine.libraries import count_writes
from .._engine.place import HOST
from .._hyper import POSITIVE, is_scheduled, saved, value_at
from .._optim.forwarding import Forwarding
from .._optim.groups import checked_flag
from .._optim.optimizer import Optimizer
from .._optim.own import optimizer as of_rule
from .._optim.wrappers import SAM, checked_optimizer
from .._params import Parameter, Params, Slices, read_once
from .._rule import Rule
from .._signals import uninterrupted
from .._suggest import no_attribute
from .agreement import Facts, agree, check_header, together
from .communicator import Alone, Communicator, Staged, communicator_of, mark_of
from .exchange import Exchange
from .micro_batches import added_up
from .norm import SharedNorm
from .pieces import Share, cut, gathered
from .slices import Slice, slices

__all__ = ["distributed"]

ORDERS = "tree", "any"
T = TypeVar("T")
OPTIONS = "comm", "zero", "order", "average", "wire_dtype", "timeout", "transport"
NAMELESS = "all parameters together"  # whose gradients are not finite, as far as a rank knows


def distributed(
    make: Callable[..., Any],
    params: Any,
    *,
    comm: Any = None,
    zero: int = 1,
    order: str = "tree",
    average: bool = True,
    wire_dtype: str | None = None,
    timeout: float | None = 600.0,
    transport: str | None = None,
    **hyper: Any,
) -> Distributed:
    """An optimizer whose steps are with the gradients of all ranks: data parallel training over MPI.

    Every rank, a process that ``mpiexec`` has started, has the whole parameters, computes gradients of
    rows of its own, and calls the same methods in the same order as the others. The parameters begin as
    those of rank 0. With ``order="tree"`` they are the same to the bit for 1, 2, 4, … ranks, whatever
    ``zero`` is, and as those of ``make`` alone where all arrays are in C order.

    Parameters
    ----------
    make : optimizer class, Rule or callable
        ``make(params, **hyper)`` makes the optimizer: ``gnumba.Adam``, a rule of your own, ``gnumba.Phases``,
        or whatever returns an optimizer.
    params : array, list, tuple, dict, or list of groups
        What to update, in place; float32 or float64, nested to any depth, all in one place.
    comm : communicator of mpi4py, object or "self", optional
        None is ``MPI.COMM_WORLD``. An object with ``rank``, ``size`` and the calls ``sum``, ``largest``,
        ``sum_scatter``, ``gather_all``, ``exchange``, ``broadcast`` and ``tell`` is another transport (see
        `Communicator`). "self" is this process alone, without MPI.
    zero : {1, 0}, default 1
        1 (ZeRO-1): each rank keeps the state of an equal part of all elements, updates these, and gathers
        the others. 0: every rank keeps and updates all. The bits are the same, and as much is sent; rules
        with norms or directions of whole parameters (LAMB, LARS, Muon) need 0.
    order : {"tree", "any"}, default "tree"
        How gradients are added up. "tree": by pairs of micro-batches in their order, for ranks and
        micro-batches that are powers of two in number. "any": as MPI does, which may be quicker where a part
        is below 1 MB, for any numbers.
    average : bool, default True
        Divide by the number of micro-batches of all ranks; False leaves the sum.
    wire_dtype : {None, "bfloat16"}, optional
        How gradients of float32 travel: "bfloat16" halves their bytes, and its bits depend on the number
        of ranks, as sums are rounded where they leave one.
    timeout : float, default 600.0
        Seconds without an answer after which the job is aborted with exit status 70; None waits for ever.
        (With mpi4py; other communicators see to that themselves.)
    transport : {None, "direct", "nccl"}, optional
        How arrays on CUDA devices travel. None: through pinned host memory. "direct": MPI is given their
        addresses, which only an MPI that was built with CUDA takes; others end in a segmentation fault.
        "nccl": by NCCL, through CuPy, for CuPy's arrays; ``order="any"`` is its own order then.
    **hyper
        Hyperparameters and options for ``make``: ``lr``, ``max_norm``, ``nonfinite``, ``decay_mask``.

    Returns
    -------
    Distributed
        An optimizer: ``step``, ``t``, ``lr`` and every other hyperparameter, ``state_dict``, ``groups``,
        which hold this rank's slices. `EMA`, `Lookahead` and `SAM` go around it as around any other.

    Raises
    ------
    ValueError, TypeError
        On every rank if anything differs between ranks: names, shapes, dtypes, hyperparameters, rules; as
        ``make`` raises them for arguments of its own; for a rule that needs whole parameters with
        ``zero=1``, for parameters in several places, and if ``comm`` is None in a process that no MPI has
        started.
    RuntimeError
        If another rank has refused what it was given: it raises its own error, all others this one.
    ImportError
        If ``comm`` is None and there is no mpi4py.

    References
    ----------
    Rajbhandari, Rasley, Ruwase & He 2020, ZeRO, arXiv:1910.02054.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> w = np.zeros(2)
    >>> opt = gn.distributed(gn.SGD, w, comm="self", lr=1.0)
    >>> opt.step([np.array([1.0, 2.0]), np.array([3.0, 2.0])])  # two micro-batches
    >>> w
    array([-2., -2.])
    """
    return Distributed(make, params, comm, zero, order, average, wire_dtype, timeout, transport, hyper)


class Distributed(Forwarding):
    """An optimizer over several ranks; see `distributed`.

    Attributes
    ----------
    comm : Communicator
        Whose ``rank`` and ``size`` say which of how many this process is.
    zero, order, average, wire_dtype
        As given.
    t : int
        Steps taken.
    optimizer : Optimizer
        The one inside, of this rank's slices with ``zero=1``.
    """

    def __init__(
        self,
        make: Any,
        params: Any,
        comm: Any,
        zero: int,
        order: str,
        average: bool,
        wire_dtype: str | None,
        timeout: float | None,
        transport: str | None,
        hyper: Mapping[str, Any],
    ) -> None:
        seconds = None if timeout is None else value_at(0, "timeout", timeout, POSITIVE)
        self._comm = communicator_of(comm, seconds, transport)
        self._mark = mark_of(self._comm)
        self._is_compared = False  # whether ranks have compared the parameters' values since they were set
        self._check_whole()

        def made() -> Facts:
            self._options = _checked_options(zero, order, average, wire_dtype, self._comm.size)
            self._whole = Params(read_once(params))
            self._lay_out()
            self._optimizer = self._made(make, hyper)
            return self._described()

        with self.unbroken(Exception):
            check_header(self._comm, None, [("the calls", ["a new optimizer", "", ""])])
            facts = together(self._comm, "refused its parameters or options", made)
            agree(self._comm, facts)
        number = getattr(self._comm, "next_number", int)()  # another transport keeps calls apart itself
        self._id = [f"optimizer {number}", _digest(json.dumps(facts).encode())]
        if self._comm.size > 1:
            with self.unbroken():
                self._begin_alike()
            self._optimizer = self._made(make, hyper)  # anew, as some begin where the parameters are

    # How it is made.

    def _lay_out(self) -> None:
        """Buffers of a flat space a dtype, and this rank's slices of all parameters."""
        params, zero = self._whole, self._options["zero"]
        places = sorted({str(p.place) for p in params})
        if len(places) > 1:
            raise ValueError(f"parameters live in {places}, expected one place for all")
        comm = self._comm
        if params[0].place is not HOST and not getattr(comm, "takes_devices", False):
            comm = Staged(comm)
        by_dtype: dict[Any, list[Parameter]] = {}
        for p in params:
            by_dtype.setdefault(p.array.dtype, []).append(p)
        order, wire = self._options["order"], self._options["wire_dtype"]
        for p in params:
            if wire is not None and (p.place is not HOST or p.array.dtype != np.float32):
                raise ValueError(
                    f"wire_dtype is {wire!r} and parameter {p.name} is {p.array.dtype} in {p.place}, "
                    "expected float32 in host memory"
                )
        self._exchanges = [Exchange(members, comm, order, wire) for members in by_dtype.values()]
        self._slices = {p.index: one for each in self._exchanges for p, one in slices(each, comm.rank, zero)}
        self._shares: dict[str, Share] = {}
        for each in self._exchanges:
            for k, p in enumerate(each.params):
                self._shares[p.name] = Share(k, each.layout, self._slices[p.index].piece, p.array.shape)
        self._by_name = {p.name: self._slices[p.index] for p in params}
        self._norm = SharedNorm(self._exchanges, comm if zero else Alone())

    def _made(self, make: Any, hyper: Mapping[str, Any]) -> Any:
        """The optimizer inside."""
        if isinstance(make, Rule):
            if both := [name for name in make.given if name in OPTIONS]:
                raise TypeError(
                    f"{make._title} has a hyperparameter called {both[0]!r}, which gnumba.distributed "
                    "takes for another thing: rename it in the rule"
                )
            make = functools.partial(of_rule, make)
        if not callable(make):
            raise TypeError(f"make is {make!r}, expected an optimizer class, a rule, or a function of params")
        try:
            made = checked_optimizer(make(self._sliced(), **hyper))
        except Exception as error:
            if self.zero:
                error.add_note(
                    "it was given flat slices of the parameters: with zero=0 it is given whole ones"
                )
            raise
        for each in _layers(made):
            if isinstance(each, (SAM, Distributed)):
                kind = type(each).__name__
                raise TypeError(
                    f"make makes a {kind}, expected {kind} around what gnumba.distributed returns"
                )
        if self._options["zero"]:
            for rule in _rules(made):
                _check_elementwise(rule)
        return made

    def _sliced(self) -> Any:
        """All slices, as params of the optimizer inside."""
        left, made = iter(self._whole), []
        for part in self._whole.parts:
            members = [next(left) for _ in part.names]
            names = [p.name.removeprefix(part.prefix) for p in members]
            slices = {name: self._slices[p.index].values for name, p in zip(names, members, strict=True)}
            wholes = {name: p.given for name, p in zip(names, members, strict=True)}
            made.append({"params": Slices(slices, wholes, self._norm.judge), "name": part.name, **part.hyper})
        return made if self._whole.is_grouped else made[0]["params"]

    def _described(self) -> Facts:
        """All that must be alike on every rank before the first step."""
        params = [[p.name, list(p.array.shape), p.array.dtype.name] for p in self._whole]
        rules = [[rule.name, _digest(rule._kernel.fn.__code__.co_code)] for rule in _rules(self._optimizer)]
        inside = re.sub(r" at 0x[0-9a-f]+", "", repr(self._optimizer)).splitlines()
        return [
            ("the parameters", params),
            ("the optimizer's options", [[name, value] for name, value in self._options.items()]),
            ("the optimizer's rules", rules),
            ("the optimizers", [line.strip() for line in inside]),
        ]

    def _begin_alike(self) -> None:
        """Give every rank the parameters of rank 0."""
        for each in self._exchanges:
            each.pack([p.array for p in each.params], 0)
            each.broadcast()
        self._unpack()
        for one in self._slices.values():
            one.refresh()

    # The step.

    def step(self, grads: Any, *, grad_scale: Any = 1.0) -> None:
        """Update every parameter once, in place, with the gradients of all ranks; all of them call it.

        Parameters
        ----------
        grads : array, list, tuple, dict, or iterable of these
            Gradients in the structure of params, as `Optimizer.step` takes them, or an iterable of such,
            one a micro-batch: a list, or a generator, of which one at a time is held. As many on every
            rank; with ``order="tree"`` a power of two. ``None`` for a parameter in all micro-batches of all
            ranks leaves it alone.
        grad_scale : float, default 1.0
            > 0: what the losses were multiplied by. It does not count micro-batches: see ``average``.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `Optimizer.step`, and ValueError on every rank if anything differs between ranks: which
            parameters have no gradient, hyperparameters, steps taken, micro-batches, ``grad_scale``; at the
            first step, and the first after a state was loaded, the parameters. Nothing has changed then.
        RuntimeError
            If another rank has refused its gradients, or an earlier call was broken off halfway.
        """
        self._check_whole()
        failed: Exception | None = None
        facts: Facts = []
        missing: list[Parameter] = []
        scale = 1.0
        try:
            scale = value_at(self.t, "grad_scale", grad_scale, POSITIVE)
            self._whole.check_held()
            count, missing = added_up(self._whole, self._exchanges, grads, self.order == "tree")
            facts = [
                ("the micro-batches of a step", count),
                ("values of grad_scale", scale),
                *self._standing(),
            ]
            facts.append(("the parameters without a gradient", [p.name for p in missing]))
            if not self._is_compared and self._comm.size > 1:
                facts.append(("the parameters, by the CRC-32 of their values,", self._sums()))
            if self._options["average"]:
                scale *= count * self._comm.size
        except Exception as error:
            failed = error
        self._meet("step", facts, failed)
        self._is_compared = True
        with uninterrupted(signal.SIGINT), self.unbroken():  # an interrupt that waited breaks nothing off
            for each in self._exchanges:
                each.reduce(scatter=bool(self.zero))
            before = self.t
            self._step_inside(missing, scale)
            if self.t != before:
                self._spread()

    def _standing(self) -> Facts:
        """Where the optimizer inside stands at a step, which has to be so on every rank."""
        base = self._base
        hyper = [[[name, value] for name, value in group.values_at(base._t).items()] for group in base.groups]
        limit = None if base.max_norm is None else base._guard.limit(base._t)
        return [
            *self._course(),
            ("the hyperparameters", [pair for group in hyper for pair in group]),
            ("values of max_norm", limit),
        ]

    def _course(self) -> Facts:
        """How far the optimizer inside is."""
        base, layers = self._base, list(_layers(self._optimizer))
        return [
            ("the steps taken", self.t),
            ("the phases and their steps", [[getattr(each, "_phase", None), each.t] for each in layers]),
            ("the optimizer's rules", base.rule.name),
            ("values of nonfinite", base.nonfinite),
        ]

    def as_saved(self) -> Facts:
        """Where it stands, without the values of schedules, which may have ended."""
        base = self._base
        given = [(name, group[name]) for group in base.groups for name in base._names]
        hyper = [[name, None if is_scheduled(value) else saved(value)] for name, value in given]
        return [*self._course(), ("the hyperparameters", hyper)]

    def _sums(self) -> list[list[Any]]:
        """Of each parameter the checksum of its values: nobody else sees what one rank alone writes to it."""
        values = [(p.name, np.ascontiguousarray(p.place.read(p.array))) for p in self._whole]
        return [[name, zlib.crc32(x.reshape(-1).view(np.uint8).data)] for name, x in values]

    def _step_inside(self, missing: list[Parameter], scale: float) -> None:
        """The step of the optimizer inside, with the sums of gradients."""
        for each in self._slices.values():
            each.refresh()
        self._norm.divide(self._base._decays)
        without = {p.index for p in missing}
        given = [None if p.index in without else self._slices[p.index].gradient for p in self._whole]
        try:
            self._optimizer.step(self._in_slices(given), grad_scale=scale)
        except FloatingPointError as error:
            named = [said for said in self._comm.tell(str(error)) if NAMELESS not in said]
            raise FloatingPointError(named[0] if named else str(error)) from None

    def _slice(self, name: str) -> Slice:
        """Of the parameter of that name."""
        return self._by_name[name]

    def _in_slices(self, values: list[Any]) -> Any:
        """Values, one a parameter, in the structure of `_sliced`."""
        left = iter(values)
        made = [
            {name.removeprefix(part.prefix): next(left) for name in part.names} for part in self._whole.parts
        ]
        return made if self._whole.is_grouped else made[0]

    def _spread(self) -> None:
        """Gather what every rank has updated, and write it to the parameters."""
        if not self.zero:
            return
        count_writes([p.given for p in self._whole])
        if self._comm.size == 1 and not any(one.is_apart for one in self._slices.values()):
            return  # it is there
        for each in self._exchanges:
            members = [self._slices[p.index] for p in each.params]
            each.spread([(one.values, one.piece.at, one.piece.size) for one in members if one.piece.size])

    def _unpack(self) -> None:
        count_writes([p.given for p in self._whole])
        for each in self._exchanges:
            each.unpack()

    # Calls that all ranks make together.

    def _meet(self, call: str, facts: Facts = (), failed: Exception | None = None) -> None:  # type: ignore[assignment]
        """Go on only where all ranks make this call, none has failed, and all say the same."""
        self._check_whole()
        with self.unbroken(Exception):
            check_header(self._comm, failed, [("the calls", [*self._id, call]), *facts])

    def meet_to(self, call: str, what: str, work: Callable[[], T], facts: Facts = ()) -> T:  # type: ignore[assignment]
        """Begin a call that all ranks make with work that may fail on some: see `together`."""
        self._meet(call, facts)
        with self.unbroken(Exception):
            return together(self._comm, what, work)

    def spread(self) -> None:
        """Make the parameters those of the ranks' slices."""
        with self.unbroken():
            self._spread()

    def _check_whole(self) -> None:
        """RuntimeError, with no word to the others, if this rank has left a call of all."""
        if self._mark.by is not None:
            raise RuntimeError(
                f"an earlier call was broken off by {self._mark.by} while ranks spoke with each other, so "
                "they may no longer agree: end the job, and go on from a checkpoint"
            )

    @contextlib.contextmanager
    def unbroken(self, alike: type[Exception] = FloatingPointError) -> Iterator[None]:
        """Context whose calls are made by all ranks or, if this one fails alone, are the last.

        Of errors of the kind ``alike`` all ranks hear.
        """
        try:
            yield
        except alike:
            raise
        except BaseException as error:
            self._mark.by = type(error).__name__
            raise

    # Of any optimizer.

    @property
    def comm(self) -> Communicator:
        """The communicator: its ``rank`` and ``size``."""
        return self._comm

    @property
    def zero(self) -> int:
        """Whether ranks have parts of the state (1) or each all of it (0)."""
        return int(self._options["zero"])

    @property
    def order(self) -> str:
        """The order in which gradients are added up."""
        return str(self._options["order"])

    @property
    def average(self) -> bool:
        """Whether the sum is divided by the number of micro-batches."""
        return bool(self._options["average"])

    @property
    def wire_dtype(self) -> Any:
        """How gradients travel; None as they are."""
        return self._options["wire_dtype"]

    @property
    def t(self) -> int:
        """Steps taken."""
        return int(self._optimizer.t)

    @property
    def _params(self) -> Params:
        return self._whole

    @property
    def _base(self) -> Optimizer:
        """The innermost optimizer."""
        made: Optimizer = list(_layers(self._optimizer))[-1]
        return made

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Context for evaluation with a schedule-free rule: see `ScheduleFreeSGD`; all ranks enter it."""
        if not hasattr(type(self._base), "averaged"):
            raise no_attribute(self, "averaged", dir(self))
        base: Any = self._base
        self._meet("averaged", self.as_saved())
        try:
            with base.averaged():
                with self.unbroken():
                    self._spread()
                yield
        finally:
            if self._mark.by is None:
                self._meet("averaged's end")
                with self.unbroken():
                    self._spread()

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer inside for whole parameters, on every rank; all of them call it.

        Returns
        -------
        dict
            As that optimizer gives it in one process, where it may be loaded, as with any number of ranks.
        """
        self._meet("state_dict", self.as_saved())
        state = self._optimizer.state_dict()
        if not self.zero:
            return dict(state)
        with self.unbroken():
            return dict(gathered(state, self._shares, self._comm))

    def load_state_dict(self, state: Mapping[str, Any], **options: Any) -> Any:
        """Take up the state of ``state_dict``, of any number of ranks or of one process; all ranks call it.

        Parameters
        ----------
        state : dict
            Of whole parameters.
        **options
            As the optimizer inside has them.

        Raises
        ------
        ValueError
            If anything does not fit. Nothing has changed then.
        RuntimeError
            If it does not fit on another rank. Nothing has changed then.
        """
        self._meet("load_state_dict")
        return self._load_inside(lambda: cut(state, self._shares) if self.zero else state, **options)

    def _load_inside(self, state_of: Callable[[], Any], **options: Any) -> Any:
        """Load the state of the optimizer inside on all ranks, or on none."""
        before = self._optimizer.state_dict()
        self._is_compared = False

        def load() -> Any:
            return self._optimizer.load_state_dict(state_of(), **options)

        try:
            with self.unbroken(Exception):
                return together(self._comm, "cannot load the state", load)
        except Exception:
            self._optimizer.load_state_dict(before)
            raise

    def _refuse_copy(self, *_: Any) -> NoReturn:
        raise TypeError(
            "an optimizer over several ranks cannot be copied or pickled, expected its state_dict()"
        )

    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = _refuse_copy

    def __repr__(self) -> str:
        where = f"rank {self._comm.rank} of {self._comm.size}"
        return f"Distributed({where}, zero={self.zero}, order={self.order!r}, {self._optimizer!r})"


def _checked_options(zero: Any, order: Any, average: Any, wire_dtype: Any, size: int) -> dict[str, Any]:
    if zero not in (0, 1):
        raise ValueError(f"zero is {zero!r}, expected 0 or 1")
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}, expected one of {ORDERS}")
    if order == "tree" and size & (size - 1):
        raise ValueError(
            f"order is 'tree' for {size} ranks, expected a power of two of them, or order='any', whose bits "
            "depend on their number"
        )
    if wire_dtype not in (None, "bfloat16") or (wire_dtype is not None and order != "tree"):
        raise ValueError(
            f"wire_dtype is {wire_dtype!r} with order={order!r}, expected None, or 'bfloat16' with 'tree'"
        )
    average = checked_flag("average", average)
    return {"zero": int(zero), "order": order, "average": average, "wire_dtype": wire_dtype}


def _layers(made: Any) -> Iterator[Any]:
    """An optimizer and those inside it, down to one that is of its own."""
    yield made
    while isinstance(made, Forwarding):
        made = made.optimizer
        yield made


def _rules(made: Any) -> list[Rule]:
    """The rules of an optimizer, in all its phases."""
    for each in _layers(made):
        if hasattr(each, "rules"):
            return list(each.rules)
    return [each.rule]


def _check_elementwise(rule: Rule) -> None:
    """ValueError for a rule of more than an element, whose parameters cannot be cut."""
    kernel = rule._kernel
    needs = "norms" if kernel.normed else "directions" if kernel.lent else "indices" if kernel.indexed else ""
    if needs:
        raise ValueError(
            f"zero is 1 and {kernel.title} has {needs} of whole parameters, which are cut into pieces then; "
            "expected zero=0, which gives the same bits with whole states on every rank"
        )


def _digest(code: bytes) -> str:
    return hashlib.blake2b(code, digest_size=4).hexdigest()
