"""What an annealing tells: rungs, the lowest level, lines for the user. Nothing here is collective."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.cli.progress import Reporter
from fem_deepest.runs.anneal import Annealed
from fem_deepest.solve.annealing.levels import Level
from fem_deepest.solve.annealing.search import PARTS, Search

Array = NDArray[np.float64]

_TOLD = 8  # numbers in the last line of the command


def entry(
    search: Search,
    beta: int,
    record: Array,
    converged: NDArray[np.bool_],
    work: NDArray[np.int64],
    R_f: Array,
) -> dict[str, Any]:
    """A rung for ``run.json``.

    Args:
        search: The search.
        beta: The rung.
        record: Action, measurement, model, prior, (B, rungs, 4).
        converged: (B, rungs).
        work: Counts of the kinds of work, (B, rungs, k).
        R_f: Precisions, (rungs,).
    """
    best = int(np.argmin(record[:, beta, 0]))
    return {
        "stage": "anneal",
        "beta": beta,
        "cells": search.cells,
        "R_f": float(R_f[beta]),
        **dict(zip(PARTS, record[best, beta].tolist(), strict=True)),
        **dict(zip(search.kinds, work[:, beta].sum(axis=0).tolist(), strict=True)),
        "paths": len(record),
        "converged": int(converged[:, beta].sum()),
    }


def summary(search: Search, best: Level, found: list[Level]) -> dict[str, float]:
    """Numbers of the lowest level at the last rung, for ``run.json``."""
    metrics = {
        "action": best.action,
        "measurement": best.measurement,
        "model": best.model,
        "fraction": best.fraction,
        "levels": float(sum(v.beta == best.beta for v in found)),
    }
    if search.expected is not None:
        expected, deviation = search.expected
        metrics["expected_measurement"] = expected
        metrics["expected_measurement_deviation"] = deviation
    return metrics


def tell(reporter: Reporter, run: Annealed, converged: NDArray[np.bool_]) -> None:
    """The lowest levels, what has not converged, and how it ended."""
    last = [v for v in run.levels if v.beta == run.record.shape[1] - 1]
    for level in last[:5]:
        reporter.note(
            f"level {level.level}: action {level.action:.6g}, measurement "
            f"{level.measurement:.6g}, model {level.model:.3g}, {level.count} of "
            f"{len(run.record)} starts"
        )
    missing = int((~converged).sum())
    if missing:
        reporter.note(f"{missing} of {converged.size} minimisations did NOT CONVERGE")
    told = "".join(f", {k} = {v:.6g}" for k, v in list(run.lowest.metrics.items())[:_TOLD])
    reporter.note(
        f"{run.status.replace('_', ' ')}: action {run.metrics['action']:.6g}{told}; {run.directory}"
    )
