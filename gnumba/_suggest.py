"""Did you mean: the name that somebody who typed another one was after.

Two sources: names that PyTorch, optax, Keras and scikit-learn have for the same thing, then spelling.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

CLOSE = 0.6  # difflib's ratio from which a name counts as a misspelling of another


def _table(*rows: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    """Names of other libraries, space-separated, and for each of them the candidates here, best first."""
    return {name: tuple(here.split("|")) for names, here in rows for name in names.split()}


# The first candidate that exists where it is asked for is the answer, so one row serves every callable.
ARGUMENTS = _table(
    # optimizers
    ("learning_rate eta step_size_init", "lr|max_lr|peak|start"),
    ("init_lr initial_lr base_lr learning_rate_init", "lr|start|peak|max_lr"),
    ("beta1 beta2 beta_1 beta_2 b1 b2", "betas"),
    ("beta mu", "momentum|betas|decay"),
    ("rho", "decay"),
    ("alpha", "negative_slope|decay|factor"),
    ("epsilon", "eps"),
    ("wd l2 l2_reg weight_decay_rate decay_weight", "weight_decay"),
    ("clipnorm global_clipnorm clip_norm grad_clip max_grad_norm gradient_clip_val", "max_norm"),
    ("clipvalue clip_value max_value max_delta", "limit"),
    ("mask", "decay_mask|key"),
    ("loss_scale inv_scale", "grad_scale"),
    ("parameters model weights var_list", "params"),
    ("grad gradient gradients updates", "grads|dy"),
    # schedules
    ("init_value initial_value", "lr|start"),
    ("peak_value peak_lr eta_max lr_max", "peak|max_lr"),
    ("end_value end_lr final_lr", "final|end|min_lr"),
    ("eta_min lr_min", "final|min_lr"),
    ("gamma", "factor|decay_rate|decay"),
    (
        "T_max total_steps total_iters num_steps n_steps max_steps transition_steps decay_steps",
        "steps|period",
    ),
    ("T_0 first_cycle_steps cycle_steps", "period"),
    ("T_mult cycle_mult t_mul", "factor"),
    ("step_size interval", "every"),
    ("milestones boundaries_and_scales", "boundaries|factors"),
    ("warmup_steps num_warmup_steps n_warmup warmup_iters", "warmup|steps"),
    ("pct_start", "warm_fraction"),
    ("div_factor", "start_factor"),
    ("final_div_factor", "end_factor"),
    ("min_delta tolerance tol rtol", "threshold"),
    # initial values
    ("seed random_state generator random_seed", "rng|key"),
    ("key", "rng"),
    ("stddev sigma", "std"),
    ("size dims", "shape"),
    ("val fill_value", "value"),
    ("minval", "low"),
    ("maxval", "high"),
    ("device", "like|target"),
    # activations, dropout
    ("a slope leak", "negative_slope|alpha"),
    ("negative_slope weight", "alpha"),
    ("p prob drop_prob drop_rate dropout_rate", "rate"),
    ("rng", "key"),
    ("grad_output dout upstream", "dy"),
    ("input inputs z", "x|params"),
    ("inplace result", "out"),
    # the rest
    ("batch batchsize bs minibatch_size", "batch_size"),
    ("backend", "target"),
    ("file filename filepath fname f", "path"),
    ("lr_scheduler scheduler", "schedule|lr"),
)

# Dotted: found in that module.
NAMES = _table(
    ("GradientDescent", "SGD"),
    ("HeavyBall", "SGD|Momentum"),
    ("clip_grad_norm_ clip_grad_norm", "clip_by_global_norm"),
    ("clip_grad_value_ clip_grad_value clip", "clip_by_value"),
    ("DataLoader dataloader batches", "minibatches"),
    ("save save_model save_weights", "save_checkpoint"),
    ("load load_model load_weights", "load_checkpoint"),
    ("LeakyReLU", "leaky_relu"),
    ("ExponentialMovingAverage AveragedModel ema", "EMA"),
    ("AlphaDropout", "alpha_dropout"),
    ("show_config show_versions", "info"),
    ("register", "rule"),
    # schedules
    ("StepLR", "step|schedules.step"),
    ("MultiStepLR piecewise_constant_schedule PiecewiseConstantDecay", "piecewise|schedules.piecewise"),
    ("ExponentialLR exponential_decay ExponentialDecay", "exponential|schedules.exponential"),
    (
        "CosineAnnealingLR cosine_decay_schedule cosine_decay cosine_annealing CosineDecay",
        "cosine|schedules.cosine",
    ),
    (
        "CosineAnnealingWarmRestarts CosineDecayRestarts sgdr_schedule cosine_annealing_warm_restarts",
        "cosine_restarts|schedules.cosine_restarts",
    ),
    ("warmup_cosine_decay_schedule", "warmup_cosine|schedules.warmup_cosine"),
    ("OneCycleLR cosine_onecycle_schedule", "one_cycle|schedules.one_cycle"),
    ("ReduceLROnPlateau reduce_on_plateau plateau", "ReduceOnPlateau|schedules.ReduceOnPlateau"),
    ("LinearLR linear_schedule", "linear|schedules.linear"),
    ("PolynomialLR polynomial_schedule PolynomialDecay", "polynomial|schedules.polynomial"),
    ("SequentialLR join_schedules chain", "join|schedules.join"),
    ("ConstantLR constant_schedule", "constant|schedules.constant"),
    ("noam rsqrt", "inverse_sqrt|schedules.inverse_sqrt"),
    # initial values
    ("kaiming_normal kaiming_normal_", "he_normal|init.he_normal"),
    ("kaiming_uniform kaiming_uniform_", "he_uniform|init.he_uniform"),
    ("glorot_normal", "xavier_normal|init.xavier_normal"),
    ("glorot_uniform", "xavier_uniform|init.xavier_uniform"),
    ("truncated_normal trunc_normal_ random_normal randn", "normal|init.normal"),
    ("random_uniform rand", "uniform|init.uniform"),
    ("zeros zeros_", "constant(shape, 0.0)|init.constant(shape, 0.0)"),
    ("ones ones_", "constant(shape, 1.0)|init.constant(shape, 1.0)"),
    ("full", "constant|init.constant"),
)


def nearest(name: str, among: Iterable[str], habits: dict[str, tuple[str, ...]] = ARGUMENTS) -> str:
    """The end of an error message: ``"; did you mean 'lr'?"``, or nothing where no name is near.

    ``among`` are the names that there are; dotted ones are compared by what follows the dot.
    """
    known = list(among)
    here = (each for each in habits.get(name, ()) if each.partition("(")[0] in known and each != name)
    found = next(here, None) or _alike(name, known)
    return "" if found is None else f"; did you mean {found!r}?"


def _alike(name: str, known: list[str]) -> str | None:
    """The known name that is spelled most alike, whatever its case and underscores."""
    import difflib  # only on the way to an error

    spelled = {_letters(each): each for each in reversed(known)}  # of two alike the first
    near = difflib.get_close_matches(_letters(name), spelled, n=1, cutoff=CLOSE)
    return spelled[near[0]] if near else None


def _letters(name: str) -> str:
    return name.rpartition(".")[2].replace("_", "").casefold()


def no_attribute(owner: object, name: str, among: Iterable[str]) -> AttributeError:
    """The error for an attribute that cannot be set, as there is none of that name."""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{nearest(name, among)}")


def no_argument(shown: str, name: str, among: Iterable[str]) -> TypeError:
    """The error for a keyword argument that there is not; ``among`` are those that may still be given."""
    return TypeError(f"{shown}() has no argument {name!r}{nearest(name, among)}")


def module_getattr(module: str, among: Callable[[], Iterable[str]]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module, whose AttributeError names the nearest of what it has."""

    def __getattr__(name: str) -> Any:  # noqa: N807
        special = name.startswith("_")  # tools ask for these, and catch the error
        near = "" if special else nearest(name, among(), NAMES)
        raise AttributeError(f"module {module!r} has no attribute {name!r}{near}")

    return __getattr__


class Suggesting:
    """A base whose subclasses, called with arguments that they do not take, say which they take."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = suggesting(cls.__init__)  # type: ignore[method-assign]


def suggesting(fn: Callable[P, R]) -> Callable[P, R]:
    """Let a call with arguments that ``fn`` does not take say which it takes; for functions and methods."""
    explained = _misfit

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return fn(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from within: the arguments were taken
            better = explained(fn, args, kwargs, error)
        raise better

    # In the globals of fn: doctest looks there for the module that a function belongs to.
    made = FunctionType(call.__code__, fn.__globals__, closure=call.__closure__)
    return functools.update_wrapper(made, fn)


def _misfit(
    fn: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], error: TypeError
) -> TypeError:
    """The error for arguments that a signature does not fit; Python's own where that is clear."""
    shown = fn.__qualname__.removesuffix(".__init__")
    parameters = list(inspect.signature(fn).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters, args = parameters[1:], args[1:]
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = next((name for name in named if name not in by_name), None)
    if unknown is not None:
        return no_argument(shown, unknown, [name for name in by_name if name not in named])
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if len(args) > len(places) and rest:
        names = ", ".join(rest)
        return TypeError(f"{shown}() was given {len(args)} arguments by position, expected {names} by name")
    return error.with_traceback(None)
