"""A bridge between clamped ends, to be sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.configuration.sample import SampleConfig
from fem_deepest.runs.sampling import Table, Values, kernel_maker
from fem_deepest.sample.bridge import POTENTIALS, bridge
from fem_deepest.sample.run import Setting
from fem_deepest.sample.transfer import middle_density

Array = NDArray[np.float64]

_MIDDLE = "$x(T/2)$"


class BridgeSampling:
    """A :class:`fem_deepest.runs.sample.Sampling` of a bridge; four numbers of a path are kept.

    Args:
        config: The configuration.

    Raises:
        InputError: The kernel does not fit the target.
    """

    def __init__(self, config: SampleConfig) -> None:
        self.config = config
        self.setting.kernel()

    @cached_property
    def setting(self) -> Setting:
        """See :class:`Sampling`."""
        section = self.config.bridge
        ends, N = (section.start, section.end), section.cells
        potential = POTENTIALS[section.name](section.measure)
        target = bridge(potential, N, section.depth, ends, section.rule == "exact")
        squares = 0.5 * (ends[0] ** 2 + ends[1] ** 2)

        def mean_square(v: Array) -> Array:
            x = target.path(v)[1:-1]
            return np.asarray((squares + np.sum(x**2, axis=0)) / N)

        observe = {
            "quarter": lambda v: target.path(v)[N // 4],
            "middle": lambda v: target.path(v)[N // 2],
            "middle_square": lambda v: target.path(v)[N // 2] ** 2,
            "mean_square": mean_square,
        }
        if self.config.chains.paths:
            observe["path"] = target.path
        self._density = target.density
        return Setting(target, kernel_maker(self.config.sampler, target), observe)

    @property
    def title(self) -> str:
        """See :class:`Sampling`."""
        section = self.config.bridge
        which = f", {section.measure}" if section.name == "diffusion" else ""
        name = section.name.replace("_", " ")
        return f"{name}{which}, $T = {section.depth:g}$, $N = {section.cells}$"

    def signature(self) -> dict[str, Any]:
        """See :class:`Sampling`."""
        return {}

    def prepare(self, folder: Path, comm: MPI.Intracomm, asked: Callable[[], bool]) -> str:
        """See :class:`Sampling`: the chains start at draws of the Brownian bridge."""
        return ""

    def numbers(self, values: Values) -> dict[str, Array]:
        """See :class:`Sampling`."""
        return {name: x for name, x in values.items() if name != "path"}

    def coordinates(self, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """See :class:`Sampling`."""
        section = self.config.bridge
        t = np.linspace(0.0, section.depth, section.cells + 1)
        return ({"t": t}, {"path": ["t"]}) if "path" in values else ({}, {})

    @property
    def solved(self) -> bool:
        """See :class:`Sampling`: there is nothing to solve."""
        return True

    def findings(self, values: Values) -> tuple[dict[str, float], dict[str, Table]]:
        """See :class:`Sampling`."""
        return {}, {}

    def figures(self, values: Values, thin: int) -> dict[str, Any]:
        """``trace`` and ``marginal`` of the middle of the path."""
        from fem_deepest.figures.chains import marginal, trace  # Matplotlib; see Study.figures

        section, middle = self.config.bridge, values["middle"]
        ends = (section.start, section.end)
        grid, density = middle_density(self._density, section.depth, ends)
        iterations = np.arange(1, middle.shape[1] + 1) * thin
        return {
            "trace": trace(middle, iterations, _MIDDLE, self.title),
            "marginal": marginal(middle, grid, density, _MIDDLE, self.title),
        }
