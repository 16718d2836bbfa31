"""What a flow of an action returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.runs.train import EXIT_CODES


@dataclass(frozen=True)
class AnnealedFlowed:
    """What :func:`fem_deepest.flow` returns for an action.

    Attributes:
        directory: The run directory.
        status: "converged" (the lowest replica ends at a stationary point and the noise of none has
            exploded), "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        stages: One dictionary for the noise, one for the descent.
        metrics: Actions at the start, of the best iterate with noise and at the end; gradient there.
        seconds: Wall time, that of resumed parts included.
        actions: Actions at the end, one of each replica; empty without a descent.
        lowest: The lowest stationary point, as its problem presents it (a path: ``t``, ``x``, ``w``; a
            network: ``model``; a function: ``x``, ``u``); nothing without a descent.
    """

    directory: Path
    status: str
    config: AnnealedFlowConfig
    stages: list[dict[str, Any]]
    metrics: dict[str, float]
    seconds: float
    actions: NDArray[np.float64] = field(repr=False)
    lowest: Any = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]
