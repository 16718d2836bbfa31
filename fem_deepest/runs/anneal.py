"""What an annealing run returns, and the search it makes of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.configuration.anneal import AnnealConfig, load_annealing
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.section import read, validate
from fem_deepest.runs.network_search import NetworkSearch
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.runs.train import EXIT_CODES
from fem_deepest.solve.annealing.levels import Level
from fem_deepest.solve.annealing.search import Search

Array = NDArray[np.float64]


def load_search(
    source: str | Path | Mapping[str, Any] | AnnealConfig | NetworkAnnealConfig,
    settings: Iterable[str] = (),
) -> AnnealConfig | NetworkAnnealConfig:
    """Read the configuration of an annealing; one with a section ``[network]`` is of networks.

    See :func:`read` and :func:`validate`. Null stands for an infinite ``R_0``, as in ``run.json``.
    Not collective.
    """
    settings = tuple(settings)
    values = read(source, settings)
    if "network" not in values and not isinstance(source, NetworkAnnealConfig):
        return load_annealing(source, settings)
    action = values.get("action")
    if isinstance(action, Mapping) and action.get("R_0", 0.0) is None:
        values["action"] = {**action, "R_0": inf}
    return validate(NetworkAnnealConfig, values)


def make_search(config: AnnealConfig | NetworkAnnealConfig) -> Search:
    """The search of a configuration: over networks, or over paths of a dynamical system.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective, the same on every rank.
    """
    if isinstance(config, NetworkAnnealConfig):
        return NetworkSearch.create(config)
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
            ``w``; a network: ``model``); nothing where no rung was finished.
    """

    directory: Path
    status: str
    config: AnnealConfig | NetworkAnnealConfig
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
