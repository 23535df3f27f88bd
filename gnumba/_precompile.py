"""``python -m gnumba precompile``: kernels made ahead of time, by as many processes as there are CPUs."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

import gnumba as gn

from . import _info
from ._engine import threads
from ._engine.compile import cache

CLIPPING = "clipping"
KINDS: dict[str, dict[str, Any]] = {
    "optimizers": dict(gn.registry),
    "activations": {thing.name: thing for thing in vars(gn).values() if isinstance(thing, gn.Activation)}
    | {name: getattr(gn, name) for name in ("dropout", "alpha_dropout")},
    CLIPPING: {CLIPPING: None},
}
NAMES = {name: thing for things in KINDS.values() for name, thing in things.items()}


class Job(NamedTuple):
    """Work of one process: a name, a dtype and a target to compile for."""

    name: str
    dtype: str
    target: str


def jobs(names: Iterable[str], dtypes: Iterable[str], targets: Iterable[str]) -> list[Job]:
    """All that is asked for; "parallel" only where there are threads for it."""
    usable = dict.fromkeys(map(threads.usable, targets))
    chosen = itertools.chain.from_iterable(KINDS.get(name, [name]) for name in names)
    every = itertools.product(dict.fromkeys(chosen), dtypes, usable)
    return [Job(*each) for each in every if each[0] != CLIPPING or each[2] != "cuda"]


def make(job: Job) -> Job:
    """Compile, or find on the disk."""
    if job.name == CLIPPING:
        with gn.use_target("parallel" if job.target == "parallel" else "cpu"):
            grads = [np.ones(3, job.dtype)]
            gn.clip_by_global_norm(grads, 1.0)
            gn.clip_by_norm(grads, 1.0)
            gn.clip_by_value(grads, 1.0)
    else:
        for compile_one in _info.kernels(NAMES[job.name], job.dtype, job.target):
            compile_one()
    return job


def run(names: Iterable[str], dtypes: Iterable[str], targets: Iterable[str]) -> int:
    """Make all and say what and where; the exit status."""
    home, work = cache.folder(), jobs(names, dtypes, targets)
    if home is None:
        print(
            "No folder is private and writable, so nothing can be kept: set GNUMBA_CACHE_DIR", file=sys.stderr
        )
        return 1
    before = set(home.glob(f"*{cache.SUFFIX}"))
    for job in _shown(_made(work), len(work)):
        del job
    new = set(home.glob(f"*{cache.SUFFIX}")) - before
    size = sum(path.stat().st_size for path in new) / 2**20
    print(f"{len(new)} kernels made ({size:.1f} MiB), {len(before)} were there, in {home}")
    return 0


def _made(work: list[Job]) -> Iterator[Job]:
    """The jobs as they are done, in processes that begin anew: threads do not survive a fork."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(threads.cpus(), spawn) as pool:
        try:
            for done in concurrent.futures.as_completed([pool.submit(make, job) for job in work]):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _shown(done: Iterator[Job], count: int) -> Iterator[Job]:
    """Yield the finished jobs behind a progress bar if tqdm is installed, else print one line per job."""
    try:
        from tqdm import tqdm
    except ImportError:
        for k, job in enumerate(done, 1):
            print(f"{k}/{count} {' '.join(job)}", flush=True)
            yield job
        return
    with tqdm(done, total=count, unit="job") as bar:
        for job in bar:
            bar.set_postfix_str(" ".join(job))
            yield job
