"""Rules with norms on a device: what they are launched with. Nothing here waits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import normed_grid
from ..grid import THREADS
from ..lines import by_lines
from ..table import BLOCK, Table
from ..view import address
from . import driver

Device = Any  # of place.py, which imports this
Call = tuple[Any, ...]


class Norms:
    """Device memory for the norms of a table's rows, and for what they are added up from."""

    def __init__(self, table: Table) -> None:
        here, starts = table.kept[0], table.first_blocks
        sums, totals, norms = normed_grid.room(table.function, here.count, len(table.rows))
        ordinal, cuda = here.device.ordinal, driver.get()
        self._memory = cuda.allocate(ordinal, 8 * (starts.size + sums + totals + norms), here.order)
        self.starts = self._memory.address
        self.sums = self.starts + 8 * starts.size
        self.totals = self.sums + 8 * sums
        self.norms = self.totals + 8 * totals
        with here.order.on(here.stream):
            cuda.upload(ordinal, self.starts, starts, here.stream)


def calls(device: Device, table: Table, control: int, scalars: Any) -> list[Call]:
    """Calls that put a table's rule on its stream, the norms of its rows before it."""
    here, kind = table.kept[0], (table.function, table.storages)
    made: list[Call] = []
    if here.count and len(table.strided) < len(table.rows):
        if len(table.kept) == 1:
            table.kept.append(Norms(table))
        bodies = [make(*kind) for make in normed_grid.BODIES]
        made.append((_on_rows, device, bodies, table, control, scalars))
    for row in table.strided.values():
        bodies = [make(*kind) for make in normed_grid.BODIES_WITH_GAPS]
        made.append((_on_row_with_gaps, device, bodies, table, row, control, scalars))
    for _, _, bodies, *_ in made:
        for body in bodies:
            driver.get().load(device.ordinal, body)
    return made


def _on_rows(device: Device, bodies: Any, table: Table, control: int, scalars: Any) -> None:
    sums, norms, sweep = bodies
    here, at = table.kept
    with here.in_use():
        here.upload(table)
        rows = here.rows_at, here.pieces_at, here.count
        device.start(sums, here.stream, here.count, *rows, at.starts, at.sums, control, scalars=scalars)
        count = len(table.rows)
        device.start(norms, here.stream, count, at.starts, count, at.sums, at.totals, at.norms)
        device.start(sweep, here.stream, here.count, *rows, control, at.norms, scalars=scalars)


def _on_row_with_gaps(
    device: Device, bodies: Any, table: Table, row: tuple[Any, ...], control: int, scalars: Any
) -> None:
    sums, norms, walk = bodies
    here, size, blocks = table.kept[0], row[0].size, -(-row[0].size // BLOCK)
    lines = by_lines(row)
    if not size:
        return
    numbers = np.append(np.array([0, blocks, *map(address, row)], np.int64), lines)
    room = normed_grid.room(table.function, blocks, 1)
    scratch = driver.get().scratch(device.ordinal, 8 * sum(room), here.stream)
    with here.in_use(), device.uploaded(numbers, here.stream) as starts, scratch as at:
        totals_at, norms_at = at + 8 * room[0], at + 8 * sum(room[:2])
        where = starts + 16, starts + 8 * (2 + len(row)), len(lines), size
        device.start(sums, here.stream, blocks, *where, at, control, scalars=scalars)
        device.start(norms, here.stream, 1, starts, 1, at, totals_at, norms_at)
        device.start(walk, here.stream, -(-size // THREADS), *where, control, norms_at, scalars=scalars)
