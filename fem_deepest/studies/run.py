"""A study as it came to its end, or did not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.studies.study import StudyConfig


@dataclass(frozen=True)
class StudyRun:
    """What :func:`fem_deepest.study` returns.

    Attributes:
        directory: The run directory.
        status: "converged" (all solvers, and the orders and errors are as expected),
            "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        table: The table (:class:`.Table`, or :class:`.Listing` for things that have names), or none if
            the study did not come to its end.
        tables: All that it left, by name, the one above included.
        stages: One dictionary a point: its label, seconds, whether it was computed in this run.
        failures: What is not as expected, one sentence each.
        metrics: What the table says in short: of errors the finest value and the fitted order, of other
            columns the last value; of named rows everything.
        seconds: Wall time of this run.
    """

    directory: Path
    status: str
    config: StudyConfig
    table: Any
    tables: dict[str, Any]
    stages: list[dict[str, Any]]
    failures: list[str]
    metrics: dict[str, float]
    seconds: float

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]
