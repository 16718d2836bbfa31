"""Tables and figure of an annealing run; rank 0 alone, nothing in here is collective."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.anneal_config import load_annealing
from fem_deepest.annealed import Annealed, AnnealingProblem
from fem_deepest.errors import InputError
from fem_deepest.io.batches import read_batch
from fem_deepest.solve.paths.annealing import assemble
from fem_deepest.solve.paths.levels import Level, expected_measurement

Array = NDArray[np.float64]


def write_tables(run: Annealed, problem: AnnealingProblem) -> None:
    """``levels.csv``, and the lowest path: ``path.csv`` and ``parameters.csv``."""
    names = [f.name for f in fields(Level) if f.name != "path"]
    rows = [[asdict(level)[name] for name in names] for level in run.levels]
    _table(run.directory / "levels.csv", names, rows)
    defects = problem.newton.paths.defects
    head = ["t", *(f"x{i}" for i in range(defects.dynamics.states))]
    _table(run.directory / "path.csv", head, list(np.column_stack([run.t, run.x])))
    parameters = defects.dynamics.parameters
    w = np.broadcast_to(run.w, (defects.ends.size, len(parameters)))
    some = slice(None) if defects.varying else slice(0, 1)
    values = list(np.column_stack([defects.ends, w])[some])
    _table(run.directory / "parameters.csv", ["t", *parameters], values)


def draw_levels(directory: Path, problem: AnnealingProblem, record: Array, same: float) -> Path:
    """Write ``figures/levels.png`` from the record of all paths, (B, rungs, 4)."""
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest import figures

    paths = problem.newton.paths
    ratio = problem.ladder.precisions[: record.shape[1]] / problem.precision
    expected = expected_measurement(paths.observations, paths.measurement_weight)
    action, measurement, model = (record[..., i] for i in range(3))
    figure = figures.levels(ratio, action, measurement, model, expected, tolerance=same)
    return figures.save(figure, directory / "figures" / "levels.png")


def redraw(directory: Path, values: dict[str, Any]) -> list[Path]:
    """Draw the figure of a run directory again.

    Args:
        directory: The run directory.
        values: Its ``run.json``.

    Raises:
        InputError: No rung has been finished by all paths, or the data cannot be read any more.
    """
    config = load_annealing(values["config"])
    problem, section = AnnealingProblem.create(config), config.anneal
    firsts = range(0, section.paths, section.batch)
    found = [read_batch(directory / "batches", first) for first in firsts]
    batches = [batch for batch in found if batch is not None]
    if len(batches) < len(firsts):
        raise InputError(
            f"{directory} has {len(batches)} of {len(firsts)} batches of paths; finish the run with "
            "--resume before drawing it"
        )
    return [draw_levels(directory, problem, assemble(batches)[0], section.same)]


def _table(path: Path, head: list[str], rows: list[Any]) -> None:
    """Write a CSV file as a whole."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(
            [[f"{v:.17g}" if isinstance(v, float) else v for v in row] for row in rows]
        )
    part.replace(path)
