"""What every ``run.json`` has, whatever the verb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fem_deepest.cli.info import versions
from fem_deepest.configuration.section import Section
from fem_deepest.io.rundir import RunDirectory


def write_run(
    directory: RunDirectory,
    verb: str,
    status: str,
    config: Section,
    seconds: float,
    *,
    stages: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, float],
    grid: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write ``run.json``: what was asked for, with what, and what came out.

    Args:
        directory: Run directory.
        verb: The verb.
        status: "converged", "not_converged", "interrupted" or "failed".
        config: Configuration, written with all defaults filled in; it has a ``seed``.
        seconds: Wall time.
        stages: One mapping for each solve.
        metrics: Numbers of the run as a whole.
        grid: Process grid, depth x data; default: all ranks along the data.
        **more: What the verb has beside these.

    Returns:
        What was written.

    Raises:
        InputError: It cannot be written.

    Collective.
    """
    ranks = directory.comm.size
    values = {
        "verb": verb,
        "status": status,
        "config": config.model_dump(mode="python", by_alias=True),
        "seed": config.seed,  # type: ignore[attr-defined]
        "ranks": ranks,
        "grid": grid or f"1x{ranks}",
        "versions": versions(),
        **more,
        "stages": stages,
        "metrics": metrics,
        "seconds": seconds,
    }
    directory.write_json(values)
    return values
