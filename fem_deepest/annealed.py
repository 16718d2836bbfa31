"""What an annealing run returns, and the search it makes of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.anneal_config import AnnealConfig
from fem_deepest.path_search import PathSearch
from fem_deepest.run import EXIT_CODES
from fem_deepest.solve.annealing.levels import Level
from fem_deepest.solve.annealing.search import Search

Array = NDArray[np.float64]


def make_search(config: AnnealConfig) -> Search:
    """The search of a configuration.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective, the same on every rank.
    """
    return PathSearch.create(config)


@dataclass(frozen=True)
class Annealed:
    """What :func:`fem_deepest.anneal` returns.

    Attributes:
        directory: The run directory.
        status: "converged", "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        stages: One dictionary a rung.
        metrics: Lowest action and its parts at the last rung, the parameters there, ...
        seconds: Wall time of this call.
        levels: All levels, lowest first within a rung.
        record: Action, measurement, model, prior by start and rung, (B, rungs, 4).
        lowest: The lowest minimum at the last rung, as its search presents it (a path: ``t``, ``x``,
            ``w``); nothing where no rung was finished.
    """

    directory: Path
    status: str
    config: AnnealConfig
    stages: list[dict[str, Any]]
    metrics: dict[str, float]
    seconds: float
    levels: list[Level]
    record: Array = field(repr=False)
    lowest: Any = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]
