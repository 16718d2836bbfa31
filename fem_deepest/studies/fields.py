"""Networks whose neurons stand for a neural field, on the interval: the problem that studies refine.

Inputs and targets are fixed smooth functions of the neuron index ``s`` in (0, 1),

    z_k(s) = sum_j c_kj cos(j s),      y_k = sin( exp(tau d^2/ds^2) z_k ),      c_kj ~ N(0, 1/(1 + j^2)),

given by their means on ``d`` equal cells, the same for every number of neurons: they enter by projection
and the last state is compared with ``y_k`` by its means on the same cells. The search starts at zero,
which is the same function on every level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.section import Section
from fem_deepest.configuration.train import ActionSection, Config
from fem_deepest.network.loss import LeastSquares
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.study import Count, Positive, StudyConfig, StudySolve

Array = NDArray[np.float64]

# Of a network, those keys that these studies decide themselves.
_DECIDED: dict[str, Any] = {
    "index": "interval",
    "lift": "project",
    "readout": "project",
    "start": 0.0,
}


class FieldsSection(Section):
    """``[data]``: the functions ``z_k`` and ``y_k``, see the module."""

    samples: Count = Field(default=8, description="`K`")
    modes: Count = Field(default=3, description="cosines of which an input is made")
    smoothing: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.1, description="`tau`, time of the heat flow in the target"
    )


class FieldNetworkSection(NetworkSection):
    """``[network]``: as for a training, without the keys that the study decides."""

    depth: Positive = Field(default=1.0, description="`T`")
    cells: Count = Field(default=4, description="depth cells")
    element: Literal["P0", "P1"] | None = Field(default="P0", description="`V_S`")
    scheme: Literal["euler", "midpoint", "rk2", "rk4"] = Field(
        default="rk2", description="depth scheme"
    )


class FieldActionSection(ActionSection):
    """``[action]``: as for a training, with a strong prior."""

    strength: Positive = Field(default=1e-2, alias="lambda", description="strength of the prior")


class FieldsConfig(StudyConfig):
    """The sections of a study of fields."""

    data: FieldsSection = FieldsSection()
    network: FieldNetworkSection = FieldNetworkSection()
    action: FieldActionSection = FieldActionSection()
    solve: StudySolve = StudySolve()

    @model_validator(mode="after")
    def _only_what_is_read(self) -> FieldsConfig:
        for key in _DECIDED:
            if key in self.network.model_fields_set:
                raise ValueError(f"network.{key} is decided by the study; remove it")
        if self.network.coupling == "low_rank":
            raise ValueError(
                "network.coupling = 'low_rank' cannot start at zero, as the networks of this study do: no "
                "descent leaves it; take another coupling"
            )
        if self.action.loss not in (None, "least_squares"):
            raise ValueError("action.loss must be 'least_squares' in this study; remove it")
        if self.solve.neurons is not None:
            raise ValueError("solve.neurons is chosen for each value; remove it")
        return self

    def training(
        self, pixels: int, neurons: int, cells: int, levels: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Configuration of one training, see :class:`.Config`, and what makes its data.

        Args:
            pixels: Cells ``d`` on which the functions are given.
            neurons: Neurons.
            cells: Depth cells.
            levels: Neurons of the levels, if there are several.
        """
        values = self.model_dump(exclude={"study", "check", "output", "data"}, by_alias=True)
        values["network"] |= _DECIDED | {"neurons": neurons, "cells": cells}
        values["solve"]["neurons"] = list(levels) or None
        values["data"] = {"shape": [pixels]}
        return {"config": values, "fields": self.data.model_dump()}


def cells_of(element: str | None, neurons: int) -> int:
    """Cells of the interval with so many neurons."""
    return neurons - 1 if element == "P1" else neurons


def field_action(
    config: Config, fields: dict[str, Any], grid: ProcessGrid
) -> Callable[[Resolution], NetworkAction]:
    """The actions of one training on its levels. Collective on the grid, each.

    Args:
        config: Configuration of the training.
        fields: ``[data]`` of the study.
        grid: Process grid.
    """
    assert config.data.shape is not None, "a training of fields has data with a shape"
    (pixels,), section = config.data.shape, config.action
    z, y = smooth_fields(pixels, config.seed, **fields)

    def action(level: Resolution) -> NetworkAction:
        return NetworkAction(
            grid,
            make_network(config, pixels, pixels, level),
            LeastSquares(section.R_m / pixels),
            z,
            y,
            strength=section.strength,
            kappa=section.kappa,
            ell=section.ell,
            model_precision=section.R_f,
            input_precision=section.R_0,
        )

    return action


def smooth_fields(
    neurons: int, seed: int, samples: int, modes: int, smoothing: float
) -> tuple[Array, Array]:
    """Inputs and targets (K, N) at the midpoints of N cells; the functions do not depend on N."""
    j = np.arange(modes + 1)
    c = np.random.default_rng(seed).standard_normal((samples, modes + 1)) / np.sqrt(1.0 + j**2)
    cosines = np.cos(j[:, None] * (np.arange(neurons) + 0.5) / neurons)
    return c @ cosines, np.sin((c * np.exp(-smoothing * j**2)) @ cosines)
