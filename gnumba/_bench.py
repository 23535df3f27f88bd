"""The bench: gnumba beside NumPy, PyTorch and optax on this machine, in processes that alternate.

Each library has a process of its own, since their threads would wait for one another's, and all
take turns for several rounds: machines drift, so only ratios inside a round are compared.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._contenders import CONTENDERS, Call, Work, arrays

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["run"]

Times = dict[str, dict[Work, list[float]]]  # by contender and work, in seconds, a round after another
PROBE = Work("probe", "memory")


def seconds(call: Call, budget: float = 0.2) -> float:
    """The median time of a call; small ones are timed in runs of about a millisecond."""
    call()
    start = time.perf_counter()
    call()
    run = max(1, int(1e-3 / (time.perf_counter() - start)))
    times: list[float] = []
    while sum(times) * run < budget or len(times) < 5:
        start = time.perf_counter()
        for _ in range(run):
            call()
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


def measure(contender: str, works: Sequence[Work]) -> list[float]:
    """Seconds that each work takes; after gnumba's, those of a byte at the probe's bandwidth."""
    times = [seconds(work.of(contender)) for work in works]
    return [*times, 1.0 / probe()] if contender == "gnumba" else times


def rounds(count: int, contenders: Sequence[str], works: Sequence[Work]) -> Iterator[tuple[str, list[float]]]:
    """(contender, what it measured), contender after contender, each in a new process."""
    for contender in list(contenders) * count:
        done = subprocess.run(
            [sys.executable, "-m", "gnumba._bench", json.dumps([contender, works])],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{contender} failed:\n{done.stderr[-2000:]}")
        yield contender, json.loads(done.stdout.splitlines()[-1])


def present() -> list[str]:
    """The contenders that are installed."""
    return [name for name, contender in CONTENDERS.items() if find_spec(contender.module)]


def gathered(count: int, works: Sequence[Work], tick: Callable[[], object]) -> Times:
    """The times of all contenders that are installed."""
    times: Times = {name: {work: [] for work in (*works, PROBE)} for name in present()}
    for contender, found in rounds(count, list(times), works):
        for work, taken in zip((*works, PROBE), found, strict=False):  # only gnumba has a probe
            times[contender][work].append(taken)
        tick()
    return times


def ratio(times: Times, contender: str, work: Work) -> float:
    """gnumba's time over a contender's, the median of the rounds."""
    pairs = zip(times["gnumba"][work], times[contender][work], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def share(times: Times, work: Work) -> float:
    """The bandwidth of gnumba's call over the probe's, the median of the rounds."""
    pairs = zip(times["gnumba"][work], times["gnumba"][PROBE], strict=True)
    return statistics.median(work.nbytes * a_byte / taken for taken, a_byte in pairs)


def table(times: Times, title: str, works: Sequence[Work]) -> Table:
    """A row a work: gnumba's time and share of the memory's bandwidth, and its time over each other's.

    The share exceeds 100 % where arrays stay in the cache.
    """
    from rich import box
    from rich.table import Table

    others = [name for name in times if name != "gnumba"]
    made = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold", title_justify="left")
    made.add_column("", no_wrap=True)
    for heading in ("gnumba", "memory", *others):
        made.add_column(heading, justify="right", no_wrap=True)
    for on, group in itertools.groupby(works, key=lambda work: work.on):
        made.add_row(f"[bold]{on}")
        for work in group:
            taken = statistics.median(times["gnumba"][work])
            ratios = (f"{ratio(times, name, work):.2f}" for name in others)
            made.add_row(f"  {work.label}", shown(taken), f"{share(times, work):.0%}", *ratios)
        made.add_section()
    means = (statistics.geometric_mean(ratio(times, name, work) for work in works) for name in others)
    made.add_row("geometric mean", "", "", *(f"{mean:.2f}" for mean in means))
    return made


def shown(taken: float) -> str:
    """Seconds with a unit that suits them."""
    return f"{taken * 1e6:,.1f} µs" if taken < 1e-3 else f"{taken * 1e3:,.2f} ms"


def plot(times: Times, works: Sequence[Work], path: Path) -> None:
    """Draw gnumba's time over each other's: below 1 gnumba is faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = [(on, list(group)) for on, group in itertools.groupby(works, key=lambda work: work.on)]
    others = [name for name in times if name != "gnumba"]
    width = 3.0 + 0.35 * len(others) * max(len(group) for _, group in groups)
    figure = Figure(figsize=(width, 2.6 * len(groups)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    bar = 0.8 / len(others)
    for axes, (on, group) in zip(figure.subplots(len(groups), squeeze=False)[:, 0], groups, strict=True):
        for k, name in enumerate(others):
            heights = [ratio(times, name, work) for work in group]
            at = np.arange(len(group)) + (k - (len(others) - 1) / 2) * bar
            bars = axes.bar(at, heights, 0.9 * bar, label=f"gnumba / {name}")
            axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(title=on, ylabel="ratio of times", xticks=range(len(group)), xlim=(-0.6, len(group) - 0.4))
        axes.margins(y=0.12)
        axes.set_xticklabels([work.label.replace(" ", "\n") for work in group])
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3
    )
    figure.savefig(path)


def run(works: Mapping[str, Sequence[Work]], rounds: int, plot_to: Path | None) -> None:
    """Measure, print a table for each title, draw all if asked to."""
    from rich.console import Console
    from tqdm import tqdm

    from ._info import info

    together = [work for group in works.values() for work in group]
    with tqdm(total=rounds * len(present()), desc="measuring", unit="process") as bar:
        times = gathered(rounds, together, bar.update)
    console, known = Console(), info()
    for title, group in works.items():
        console.print(table(times, title, group))
    probed = 1e-9 / statistics.median(times["gnumba"][PROBE])
    versions = ", ".join(f"{name} {known['versions'][name]}" for name in ("gnumba", "numpy", "numba"))
    machine = f"{known['cpu']}, {known['threads']} threads, probe {probed:.0f} GB/s"
    console.out(f"{machine}; {versions}", highlight=False)
    if plot_to is not None:
        plot(times, together, plot_to)
        console.out(f"Plot: {plot_to}", highlight=False)


if __name__ == "__main__":
    contender, works = json.loads(sys.argv[1])
    print(json.dumps(measure(contender, [Work(*work) for work in works])))  # noqa: T201  what `rounds` reads
