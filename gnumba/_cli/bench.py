"""The bench: gnumba beside NumPy, PyTorch and optax on this machine, in processes that alternate.

Each library has a process of its own, since their threads would wait for one another's, and all
take turns for several rounds: machines drift, so only ratios inside a round are compared.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .contenders import CONTENDERS, Call, Work, arrays
from .contenders.with_numpy import keep_pages

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["run"]

Times = dict[str, dict[Work, list[float]]]  # by contender and work, in seconds, a round after another
PROBE = Work("probe", "memory")


def seconds(call: Call, budget: float = 0.2, warm_up: float = 0.05) -> float:
    """The median time of a call that is warm; small ones are timed in runs of about a millisecond."""
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < warm_up or calls < 2:
        call()
        calls += 1
    run = max(1, int(1e-3 * calls / (time.perf_counter() - start)))
    times: list[float] = []
    while sum(times) * run < budget or len(times) < 5:
        start = time.perf_counter()
        for _ in range(run):
            call()
        times.append((time.perf_counter() - start) / run)
    return statistics.median(times)


def probe() -> float:
    """Bytes a second that a loop over all cores moves which only reads and writes Adam's arrays."""
    from .._engine.launch import launch
    from .._engine.table import Table
    from .._rule import Elementwise

    def touch(p: float, g: float, m: float, v: float) -> tuple[float, float, float]:
        return p + g, m + g, v + g

    row = tuple(arrays("1 array, 30M", seed)[0] for seed in range(4))  # zeros would be 12 % faster
    touched = Table(Elementwise(touch, tuple("pgmv"), tuple("pmv")), [row])
    return touched.traffic / seconds(lambda: launch([(touched, np.empty(0))]))


def measure(contender: str, works: Sequence[Work]) -> list[float]:
    """Seconds that each work takes; after gnumba's, those of a byte at the probe's bandwidth."""
    times = [seconds(CONTENDERS[contender].call(work)) for work in works]
    return [*times, 1.0 / probe()] if contender == "gnumba" else times


def known(contender: str, works: Sequence[Work]) -> list[Work]:
    """The works that a contender has an optimizer or an activation for."""
    return [work for work in works if CONTENDERS[contender].knows(work)]


def rounds(count: int, contenders: Sequence[str], works: Sequence[Work]) -> Iterator[tuple[str, list[float]]]:
    """(contender, times of what it knows), contender after contender, each in a new process."""
    for contender in list(contenders) * count:
        done = subprocess.run(
            [sys.executable, "-m", "gnumba._cli.bench", json.dumps([contender, known(contender, works)])],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{contender} failed:\n{done.stderr[-2000:]}")
        yield contender, json.loads(done.stdout.splitlines()[-1])


def present(works: Sequence[Work]) -> list[str]:
    """The contenders that are installed and know some of the works."""
    return [name for name, made in CONTENDERS.items() if find_spec(made.module) and known(name, works)]


def gathered(count: int, works: Sequence[Work], tick: Callable[[], object]) -> Times:
    """The times of the contenders that are present."""
    times: Times = {name: {} for name in present(works)}
    for contender, found in rounds(count, list(times), works):
        measured = (*known(contender, works), PROBE)  # the last is gnumba's only
        for work, taken in zip(measured, found, strict=False):
            times[contender].setdefault(work, []).append(taken)
        tick()
    return times


def ratio(times: Times, contender: str, work: Work) -> float | None:
    """gnumba's time over a contender's, the median of the rounds; None without such a contender's."""
    if work not in times[contender]:
        return None
    pairs = zip(times["gnumba"][work], times[contender][work], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def ratios(times: Times, works: Sequence[Work]) -> dict[str, list[float | None]]:
    """Of each work, by the contenders that know one of them."""
    found = {name: [ratio(times, name, work) for work in works] for name in times if name != "gnumba"}
    return {name: each for name, each in found.items() if any(each)}


def share(times: Times, work: Work) -> float:
    """The bandwidth of gnumba's call over the probe's, the median of the rounds."""
    pairs = zip(times["gnumba"][work], times["gnumba"][PROBE], strict=True)
    return statistics.median(work.nbytes * a_byte / taken for taken, a_byte in pairs)


NOTES = """\
memory: share of the bandwidth of a loop that only reads and writes; above 100 % the arrays stay in the cache.
Other columns: gnumba's time over that library's, in a process of its own whose malloc keeps its pages."""


def disagreement(times: Times) -> str:
    """A sentence if some time is twice as long in one round as in another, else nothing."""
    spreads = {
        (max(each) / min(each), f"{name}, {work.label}, {work.on}")
        for name, taken in times.items()
        for work, each in taken.items()
    }
    factor, where = max(spreads)
    if factor < 2.0:
        return ""
    return f"The machine was busy: rounds differ by up to {factor:.1f} times ({where}). Measure again."


def table(times: Times, title: str, works: Sequence[Work]) -> Table:
    """A row a work: gnumba's time and share of the memory's bandwidth, and its time over each other's."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_style="bold", title_justify="left")
    over = ratios(times, works)
    made.add_column("", no_wrap=True)
    for heading in ("gnumba", "memory", *over):
        made.add_column(heading, justify="right", no_wrap=True)
    for on, group in itertools.groupby(enumerate(works), key=lambda numbered: numbered[1].on):
        made.add_row(f"[bold]{on}")
        for k, work in group:
            cells = [two_digits(each[k]) for each in over.values()]
            taken = statistics.median(times["gnumba"][work])
            made.add_row(f"  {work.label}", shown(taken), f"{share(times, work):.0%}", *cells)
        made.add_section()
    means = (statistics.geometric_mean(filter(None, each)) for each in over.values())
    made.add_row("geometric mean", "", "", *map(two_digits, means))
    return made


def markdown(times: Times, works: Sequence[Work]) -> str:
    """The table in the form that the README has it."""
    over = ratios(times, works)
    lines = [["model", "optimizer", "gnumba", *(f"/ {name}" for name in over)]]
    for k, work in enumerate(works):
        first = not k or works[k - 1].on != work.on
        cells = [two_digits(each[k]) for each in over.values()]
        taken = shown(statistics.median(times["gnumba"][work]))
        lines.append([work.on if first else "", work.label, taken, *cells])
    head, *rows = (f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rows])


def shown(taken: float) -> str:
    """Seconds with a unit that suits them."""
    return f"{taken * 1e6:,.1f} µs" if taken < 1e-3 else f"{taken * 1e3:,.2f} ms"


def two_digits(value: float | None) -> str:
    """A ratio to two significant digits, or a dash."""
    if value is None:
        return "–"
    rounded = float(f"{value:.1e}")
    return f"{rounded:.{max(0, 1 - math.floor(math.log10(rounded)))}f}"


def plot(times: Times, works: Sequence[Work], path: Path) -> None:
    """Draw gnumba's time over each other's: below 1 gnumba is faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = [(on, list(group)) for on, group in itertools.groupby(works, key=lambda work: work.on)]
    others = list(ratios(times, works))
    width = 3.0 + 0.35 * len(others) * max(len(group) for _, group in groups)
    figure = Figure(figsize=(width, 2.6 * len(groups)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    bar = 0.8 / max(1, len(others))
    for axes, (on, group) in zip(figure.subplots(len(groups), squeeze=False)[:, 0], groups, strict=True):
        for k, name in enumerate(others):
            heights = [ratio(times, name, work) for work in group]
            at = np.arange(len(group)) + (k - (len(others) - 1) / 2) * bar
            bars = axes.bar(at, [each or math.nan for each in heights], 0.9 * bar, label=f"gnumba / {name}")
            labels = [two_digits(each) if each else "" for each in heights]
            axes.bar_label(bars, labels, fontsize=7, padding=1)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(title=on, ylabel="ratio of times", xticks=range(len(group)), xlim=(-0.6, len(group) - 0.4))
        axes.margins(y=0.12)
        axes.set_xticklabels([work.label.replace(" ", "\n") for work in group])
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3
    )
    figure.savefig(path)


def run(
    works: Mapping[str, Sequence[Work]], rounds: int, plot_to: Path | None, as_markdown: bool = False
) -> None:
    """Measure, print a table for each title, draw all if asked to."""
    from rich.console import Console
    from tqdm import tqdm

    from .._info import info

    together = [work for group in works.values() for work in group]
    with tqdm(total=rounds * len(present(together)), desc="measuring", unit="process") as bar:
        times = gathered(rounds, together, bar.update)
    console, about = Console(), info()
    for title, group in works.items():
        if as_markdown:
            console.out(markdown(times, group), highlight=False)
        else:
            console.print(table(times, title, group))
    console.out(NOTES, highlight=False)
    probed = 1e-9 / statistics.median(times["gnumba"][PROBE])
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("gnumba", "numpy", "numba"))
    machine = f"{about['cpu']}, {about['threads']} threads, probe {probed:.0f} GB/s"
    console.out(f"{machine}; {versions}", highlight=False)
    if busy := disagreement(times):
        console.out(busy, highlight=False)
    if plot_to is not None:
        plot(times, together, plot_to)
        console.out(f"Plot: {plot_to}", highlight=False)


if __name__ == "__main__":
    contender, works = json.loads(sys.argv[1])
    keep_pages()
    print(json.dumps(measure(contender, [Work(*work) for work in works])))  # noqa: T201  what `rounds` reads
