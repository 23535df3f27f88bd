"""The bench: gnumba beside NumPy, PyTorch and optax on this machine, in processes that alternate.

Each library has a process of its own, since their threads would wait for one another's, and all
take turns for several rounds: machines drift, so only ratios inside a round are compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["CONTENDERS", "MODELS", "OPTIMIZERS", "run"]

Array = np.ndarray[Any, np.dtype[Any]]
Step = Callable[[], object]

MODELS: dict[str, list[tuple[int, ...]]] = {
    "4 arrays, 2.4k": [(64, 32), (32,), (32, 10), (10,)],
    "6 arrays, 235k": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "161 arrays, 18M": [(512, 512)] * 50 + [(2048, 512)] * 5 + [(256,)] * 106,
    "1 array, 30M": [(30_000_000,)],
}
# Hyperparameters, and how many arrays a step reads and writes.
OPTIMIZERS: dict[str, tuple[dict[str, Any], int]] = {
    "SGD": ({"lr": 1e-3, "momentum": 0.9}, 5),
    "Momentum": ({"lr": 1e-3, "momentum": 0.9}, 5),
    "AdaGrad": ({"lr": 1e-3}, 5),
    "RMSProp": ({"lr": 1e-3}, 5),
    "Adam": ({"lr": 1e-3}, 7),
    "AdamW": ({"lr": 1e-3, "weight_decay": 1e-2}, 7),
}
EPS = 1e-8


def arrays(model: str, seed: int) -> list[Array]:
    """Standard normal float32 of the model's shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in MODELS[model]]


# A contender makes the step of an optimizer over a model.


def of_gnumba(optimizer: str, model: str) -> Step:
    """What this is about."""
    import gnumba as gn

    made = getattr(gn, optimizer)(arrays(model, 0), **OPTIMIZERS[optimizer][0])
    grads = arrays(model, 1)
    return lambda: made.step(grads)


def of_numpy(optimizer: str, model: str) -> Step:
    """The formula in NumPy, as one writes it: temporaries, results in place."""
    params, grads = arrays(model, 0), arrays(model, 1)
    update, states = NUMPY[optimizer]
    state = [[np.zeros_like(p) for _ in range(states)] for p in params]

    def step() -> None:
        for p, g, s in zip(params, grads, state, strict=True):
            update(p, g, *s)

    return step


def _numpy_sgd(p: Array, g: Array, v: Array) -> None:
    v[...] = 0.9 * v + g
    p -= 1e-3 * v


def _numpy_momentum(p: Array, g: Array, v: Array) -> None:
    v[...] = 0.9 * v + 0.1 * g
    p -= 1e-3 * v


def _numpy_adagrad(p: Array, g: Array, total: Array) -> None:
    total += g * g
    p -= 1e-3 * g / np.sqrt(total + EPS)


def _numpy_rmsprop(p: Array, g: Array, mean: Array) -> None:
    mean[...] = 0.9 * mean + 0.1 * (g * g)
    p -= 1e-3 * g / np.sqrt(mean + EPS)


def _numpy_adam(p: Array, g: Array, m: Array, v: Array) -> None:
    m[...] = 0.9 * m + 0.1 * g
    v[...] = 0.999 * v + 0.001 * (g * g)
    p -= 1e-2 * m / np.sqrt(1e3 * v + EPS)


def _numpy_adamw(p: Array, g: Array, m: Array, v: Array) -> None:
    p *= 1.0 - 1e-5
    _numpy_adam(p, g, m, v)


NUMPY: dict[str, tuple[Callable[..., None], int]] = {
    "SGD": (_numpy_sgd, 1),
    "Momentum": (_numpy_momentum, 1),
    "AdaGrad": (_numpy_adagrad, 1),
    "RMSProp": (_numpy_rmsprop, 1),
    "Adam": (_numpy_adam, 2),
    "AdamW": (_numpy_adamw, 2),
}


def of_torch(optimizer: str, model: str) -> Step:
    """torch.optim, fused where it has that; its RMSprop has not."""
    import torch

    optim = torch.optim
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "SGD": (optim.SGD, {"momentum": 0.9, "fused": True}),
        "Momentum": (optim.SGD, {"momentum": 0.9, "dampening": 0.1, "fused": True}),
        "AdaGrad": (optim.Adagrad, {"fused": True}),
        "RMSProp": (optim.RMSprop, {"alpha": 0.9}),
        "Adam": (optim.Adam, {"fused": True}),
        "AdamW": (optim.AdamW, {"weight_decay": 1e-2, "fused": True}),
    }
    params = [torch.nn.Parameter(torch.from_numpy(p)) for p in arrays(model, 0)]
    for p, g in zip(params, arrays(model, 1), strict=True):
        p.grad = torch.from_numpy(g)
    kind, options = kinds[optimizer]
    return kind(params, lr=1e-3, **options).step  # type: ignore[no-any-return]


def of_optax(optimizer: str, model: str) -> Step:
    """optax under jit, with its arrays donated: the nearest it has to in place."""
    import jax
    import optax

    inside = {"eps": 0.0, "eps_root": EPS}
    made = {
        "SGD": optax.sgd(1e-3, momentum=0.9),
        "Momentum": optax.chain(optax.ema(0.9, debias=False), optax.scale_by_learning_rate(1e-3)),
        "AdaGrad": optax.adagrad(1e-3, initial_accumulator_value=0.0, eps=EPS),
        "RMSProp": optax.rmsprop(1e-3, decay=0.9, eps=EPS),
        "Adam": optax.adam(1e-3, **inside),
        "AdamW": optax.adamw(1e-3, weight_decay=1e-2, **inside),
    }[optimizer]

    def update(params: Any, state: Any, grads: Any) -> Any:
        updates, state = made.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jitted = jax.jit(update, donate_argnums=(0, 1))
    params, grads = [[jax.numpy.asarray(a) for a in arrays(model, seed)] for seed in (0, 1)]
    held = [params, made.init(params)]

    def step() -> None:
        held[:] = jitted(*held, grads)
        jax.block_until_ready(held)

    return step


CONTENDERS: dict[str, tuple[Callable[[str, str], Step], str]] = {
    "gnumba": (of_gnumba, "numba"),
    "NumPy": (of_numpy, "numpy"),
    "PyTorch": (of_torch, "torch"),
    "optax": (of_optax, "optax"),
}


def seconds(step: Step, budget: float = 0.3) -> float:
    """The median time of a call; small ones are timed in runs of about a millisecond."""
    step()
    start = time.perf_counter()
    step()
    run = max(1, int(1e-3 / (time.perf_counter() - start)))
    times: list[float] = []
    while sum(times) * run < budget or len(times) < 5:
        start = time.perf_counter()
        for _ in range(run):
            step()
        times.append((time.perf_counter() - start) / run)
    return statistics.median(times)


def probe() -> float:
    """Bytes a second that a loop over all cores moves which only reads and writes Adam's arrays."""
    from ._engine.launch import launch
    from ._engine.table import Table
    from ._rule import Elementwise

    def touch(p: float, g: float, m: float, v: float) -> tuple[float, float, float]:
        return p + g, m + g, v + g

    row = tuple(arrays("1 array, 30M", seed)[0] for seed in range(4))  # zeros would be 12 % faster
    touched = Table(Elementwise(touch, tuple("pgmv"), tuple("pmv")), [row])
    return touched.traffic / seconds(lambda: launch([(touched, np.empty(0))]))


def measure(contender: str, optimizers: Sequence[str], models: Sequence[str]) -> dict[str, float]:
    """Seconds a step of each optimizer and model, by "optimizer/model"; gnumba's also the probe."""
    make, _ = CONTENDERS[contender]
    times = {f"{o}/{m}": seconds(make(o, m)) for m in models for o in optimizers}
    return times | ({"probe": probe()} if contender == "gnumba" else {})


def rounds(count: int, contenders: Sequence[str], what: tuple[Sequence[str], Sequence[str]]) -> Iterator[Any]:
    """(round, contender, what it measured), contender after contender, each in a new process."""
    for k in range(count):
        for contender in contenders:
            task = json.dumps([contender, *map(list, what)])
            done = subprocess.run(
                [sys.executable, "-m", "gnumba._bench", task], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{contender} failed:\n{done.stderr[-2000:]}")
            yield k, contender, json.loads(done.stdout.splitlines()[-1])


def present() -> list[str]:
    """The contenders that are installed."""
    return [name for name, (_, module) in CONTENDERS.items() if find_spec(module)]


def gathered(count: int, optimizers: Sequence[str], models: Sequence[str], tick: Callable[[], object]) -> Any:
    """times[contender][work][round] in seconds."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in present()}
    for _, contender, found in rounds(count, list(times), (optimizers, models)):
        for work, taken in found.items():
            times[contender].setdefault(work, []).append(taken)
        tick()
    return times


def ratio(times: Any, contender: str, work: str) -> float:
    """gnumba's time over a contender's, the median of the rounds."""
    pairs = zip(times["gnumba"][work], times[contender][work], strict=True)
    return float(statistics.median(ours / theirs for ours, theirs in pairs))


def share(times: Any, optimizer: str, model: str) -> float:
    """The bandwidth of gnumba's step over the probe's, the median of the rounds."""
    size = sum(int(np.prod(shape)) for shape in MODELS[model])
    moved = size * 4 * OPTIMIZERS[optimizer][1]
    pairs = zip(times["gnumba"][f"{optimizer}/{model}"], times["gnumba"]["probe"], strict=True)
    return float(statistics.median(moved / taken / probed for taken, probed in pairs))


def table(times: Any, optimizers: Sequence[str], models: Sequence[str]) -> Table:
    """A row a work: gnumba's time and share of the memory's bandwidth, and its time over each other's.

    The share exceeds 100 % where arrays stay in the cache.
    """
    from rich import box
    from rich.table import Table

    others = [name for name in times if name != "gnumba"]
    title = "A step: gnumba's time, share of the bandwidth, gnumba / other"
    made = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold")
    made.add_column("model", no_wrap=True)
    made.add_column("optimizer", no_wrap=True)
    for heading in ("gnumba", "memory", *others):
        made.add_column(heading, justify="right", no_wrap=True)
    for model in models:
        for optimizer in optimizers:
            work = f"{optimizer}/{model}"
            taken = statistics.median(times["gnumba"][work])
            ratios = (f"{ratio(times, name, work):.2f}" for name in others)
            made.add_row(model, optimizer, shown(taken), f"{share(times, optimizer, model):.0%}", *ratios)
        made.add_section()
    return made


def shown(taken: float) -> str:
    """Seconds with a unit that suits them."""
    return f"{taken * 1e6:,.1f} µs" if taken < 1e-3 else f"{taken * 1e3:,.2f} ms"


def plot(times: Any, optimizers: Sequence[str], models: Sequence[str], path: Path) -> None:
    """Draw gnumba's time over each other's: below 1 gnumba is faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(1.5 + 1.6 * len(optimizers) + 2.0, 2.4 * len(models)), dpi=150, layout="constrained"
    )
    FigureCanvasAgg(figure)
    others = [name for name in times if name != "gnumba"]
    width = 0.8 / len(others)
    for axes, model in zip(figure.subplots(len(models), squeeze=False)[:, 0], models, strict=True):
        for k, name in enumerate(others):
            heights = [ratio(times, name, f"{optimizer}/{model}") for optimizer in optimizers]
            at = np.arange(len(optimizers)) + (k - (len(others) - 1) / 2) * width
            bars = axes.bar(at, heights, 0.9 * width, label=f"gnumba / {name}")
            axes.bar_label(bars, fmt="%.2f", fontsize=7)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(title=model, ylabel="ratio of times", ylim=(0.0, None), xticks=range(len(optimizers)))
        axes.set_xticklabels(optimizers)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3
    )
    figure.savefig(path)


def run(optimizers: Sequence[str], models: Sequence[str], rounds: int, plot_to: Path | None) -> None:
    """Measure, print the table, draw it if asked to."""
    from rich.console import Console
    from tqdm import tqdm

    from ._info import info

    with tqdm(total=rounds * len(present()), desc="measuring", unit="process") as bar:
        times = gathered(rounds, optimizers, models, bar.update)
    console, known = Console(), info()
    console.print(table(times, optimizers, models))
    probed = statistics.median(times["gnumba"]["probe"]) / 1e9
    versions = ", ".join(f"{name} {known['versions'][name]}" for name in ("gnumba", "numpy", "numba"))
    machine = f"{known['cpu']}, {known['threads']} threads, probe {probed:.0f} GB/s"
    console.out(f"{machine}; {versions}", highlight=False)
    if plot_to is not None:
        plot(times, optimizers, models, plot_to)
        console.out(f"Plot: {plot_to}", highlight=False)


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))  # noqa: T201  what `rounds` reads
