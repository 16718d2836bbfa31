"""What a sampling run needs to know of a measure, whatever it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.configuration.sample import SamplerSection
from fem_deepest.sample.kernel import Kernel
from fem_deepest.sample.named import named_kernel
from fem_deepest.sample.run import Setting
from fem_deepest.sample.target import Target

Array = NDArray[np.float64]
Values = Mapping[str, Array]
Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


class Sampling(Protocol):
    """A measure with all that a run wants to know of its draws.

    ``values`` are the kept draws by name, (chains, draws, ...). Only :meth:`prepare` is collective.
    """

    @property
    def title(self) -> str:
        """One line that says what is sampled."""

    @property
    def setting(self) -> Setting:
        """Target, kernel and what is kept; made once, after :meth:`prepare`."""

    def signature(self) -> dict[str, Any]:
        """What a resumed run must share beyond the configuration: the data, in plain types."""

    def prepare(self, folder: Path, comm: MPI.Intracomm, asked: Callable[[], bool]) -> str:
        """Find where the chains start, or read it from ``folder``; a line that tells of it. Collective.

        Raises:
            Interrupted: It was asked to leave.
            NumericalFailure: There is no start.
        """

    @property
    def solved(self) -> bool:
        """Whether the solver that has found the start has converged; after :meth:`prepare`."""

    def numbers(self, values: Values) -> dict[str, Array]:
        """The numbers whose convergence is judged, by name, each (chains, draws)."""

    def coordinates(self, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Coordinates, and by name of a value its dimensions after chain and draw."""

    def findings(self, values: Values) -> tuple[dict[str, float], dict[str, Table]]:
        """Metrics of the predictions, and tables by the names of their files."""

    def figures(self, values: Values, thin: int) -> dict[str, Any]:
        """Figures by name; ``thin`` iterations make a draw."""


def kernel_maker(section: SamplerSection, target: Target) -> Callable[[], Kernel]:
    """Makes the kernel of a configuration, with its first step."""
    more: dict[str, Any] = {}
    if section.kernel in ("infinity_mala", "spde_mala"):
        more["theta"] = section.theta
    elif section.kernel == "hmc":
        more["steps"] = section.steps
    return lambda: named_kernel(section.kernel, target, section.step, **more)
