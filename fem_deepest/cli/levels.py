"""Tables and figure of an annealing run; rank 0 alone, nothing in here is collective."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.io.batches import read_batch
from fem_deepest.runs.anneal import Annealed, load_search, make_search
from fem_deepest.solve.annealing.levels import Level
from fem_deepest.solve.annealing.search import Search, assemble

Array = NDArray[np.float64]


def write_tables(run: Annealed) -> None:
    """``levels.csv``, and what the search tells of the lowest minimum."""
    names = [f.name for f in fields(Level) if f.name != "path"]
    rows = [[asdict(level)[name] for name in names] for level in run.levels]
    write_table(run.directory / "levels.csv", names, rows)
    for name, (head, table) in run.lowest.tables.items():
        write_table(run.directory / name, list(head), list(table))


def draw_levels(directory: Path, search: Search, record: Array, same: float) -> Path:
    """Write ``figures/levels.png`` from the record of all starts, (B, rungs, 4)."""
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest import figures

    ratio = search.precisions[: record.shape[1]] / search.scale
    action, measurement, model = (record[..., i] for i in range(3))
    figure = figures.levels(
        ratio, action, measurement, model, search.expected, tolerance=same, floor=search.floor
    )
    return figures.save(figure, directory / "figures" / "levels.png")


def redraw(directory: Path, values: dict[str, Any]) -> list[Path]:
    """Draw the figure of a run directory again.

    Args:
        directory: The run directory.
        values: Its ``run.json``.

    Raises:
        InputError: No rung has been finished by all starts, or the data cannot be read any more.
    """
    config = load_search(values["config"])
    search = make_search(config)
    firsts = range(0, search.starts, search.batch)
    found = [read_batch(directory / "batches", first) for first in firsts]
    batches = [batch for batch in found if batch is not None]
    if len(batches) < len(firsts):
        raise InputError(
            f"{directory} has {len(batches)} of {len(firsts)} batches of starts; finish the run with "
            "--resume before drawing it"
        )
    return [draw_levels(directory, search, assemble(batches)[0], config.anneal.same)]


def write_table(path: Path, head: list[str], rows: list[Any]) -> None:
    """Write a CSV file as a whole."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(
            [[f"{v:.17g}" if isinstance(v, float) else v for v in row] for row in rows]
        )
    part.replace(path)
