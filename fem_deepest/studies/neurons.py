"""Refinement of the neuron index: networks of more and more neurons that stand for one neural field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.section import Section, validate
from fem_deepest.configuration.train import ActionSection, Config, NetworkSection
from fem_deepest.network.loss import LeastSquares
from fem_deepest.runs.model import make_network
from fem_deepest.spaces import Parameters as ControlParameters
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import (
    Count,
    Factor,
    Positive,
    Study,
    StudyConfig,
    StudySection,
    StudySolve,
)
from fem_deepest.studies.table import Table
from fem_deepest.studies.training import column_measure, depth_norm, train

Array = NDArray[np.float64]

# Of a network, those keys that the study decides itself.
_DECIDED: dict[str, Any] = {
    "index": "interval",
    "lift": "pad",
    "readout": "observed",
    "start": 0.0,
}


class NeuronsSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of neurons."""

    name: Literal["neurons"] = Field(description="this study")
    reference: Factor = Field(
        default=4, description="neurons of the reference, a multiple of the largest value"
    )

    @model_validator(mode="after")
    def _nested(self) -> NeuronsSection:
        finest = self.reference * self.values[-1]
        odd = [n for n in self.values if finest % n]
        if odd:
            raise ValueError(
                f"values has {odd[0]}, whose cells are not unions of those of the reference with "
                f"{finest} neurons; take divisors of it"
            )
        return self


class FieldsSection(Section):
    """``[data]``: random smooth functions ``z_k`` on (0, 1) and ``y_k``, see :class:`NeuronsStudy`."""

    samples: Count = Field(default=8, description="`K`")
    modes: Count = Field(default=3, description="cosines of which an input is made")
    smoothing: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.1, description="`tau`, time of the heat flow in the target"
    )


class FieldNetworkSection(NetworkSection):
    """``[network]``: as for a training, without the keys that the study decides."""

    depth: Positive = Field(default=1.0, description="`T`")
    cells: Count = Field(default=4, description="depth cells")
    scheme: Literal["euler", "midpoint", "rk2", "rk4"] = Field(
        default="rk2", description="depth scheme"
    )


class FieldActionSection(ActionSection):
    """``[action]``: as for a training, with a strong prior."""

    strength: Positive = Field(default=1e-2, alias="lambda", description="strength of the prior")


class NeuronsConfig(StudyConfig):
    """Configuration of :class:`NeuronsStudy`."""

    study: NeuronsSection
    data: FieldsSection = FieldsSection()
    network: FieldNetworkSection = FieldNetworkSection()
    action: FieldActionSection = FieldActionSection()
    solve: StudySolve = StudySolve()

    @model_validator(mode="after")
    def _only_what_is_read(self) -> NeuronsConfig:
        for key in ("neurons", *_DECIDED):
            if key in self.network.model_fields_set:
                raise ValueError(f"network.{key} is decided by the study; remove it")
        if self.action.loss not in (None, "least_squares"):
            raise ValueError("action.loss must be 'least_squares' in this study; remove it")
        return self


class NeuronsStudy(Study):
    """Distance of trained networks from one with several times as many neurons.

    The neuron index is the interval (0, 1) in N equal cells and ``W_h = w/N``, the midpoint rule for
    ``int_0^1 w(t,s,s') x(t,s') ds'``; inputs and targets are values of fixed smooth functions

        z_k(s) = sum_j c_kj cos(j s),      y_k = sin( exp(tau d^2/ds^2) z_k )

    at the midpoints, ``c_kj ~ N(0, 1/(1 + j^2))``, and ``R_m/N`` is the precision of each. So all
    sums over neurons are midpoint rules (of functions without a period of 1, or these rules would
    be exact). The search starts at zero, a start that has a limit. Where it ends in a smooth field,
    ``w = P^{-1} (1/K) sum_k sigma' p_k(s) x_k(s')``, as it does if the prior is strong,

    * ``action`` converges with order 2, that of the midpoint rule;
    * ``weights`` as a piecewise constant field, in L2: 1, the interpolation error of P0;
    * ``means``, the cell means of the reference against the values on the coarse cells: 2, because
      mean and midpoint value differ by ``O(N^-2)``.

    With a weaker prior (``lambda = 3e-3`` with the other defaults) the action still converges so but
    the fields do not: nothing in the prior smooths along the index, and the table shows it.
    The depth mesh is the same for all points. The reference has an error of its
    own, see :class:`fem_deepest.studies.depth.DepthStudy`.
    """

    title = "Refinement of the neuron index against a finer field"
    Config = NeuronsConfig
    config: NeuronsConfig
    columns = ("weights", "means", "action")

    def __init__(self, config: NeuronsConfig) -> None:
        self.config = config
        self._finest = config.study.values[-1] * config.study.reference
        validate(Config, self.points()[0]["config"])

    def points(self) -> list[dict[str, Any]]:
        """One for each number of neurons, the reference last."""
        base = self.config.model_dump(exclude={"study", "check", "output", "data"}, by_alias=True)
        data = self.config.data.model_dump()
        return [
            {
                "kind": "field",
                "data": data,
                "config": base | {"network": base["network"] | _DECIDED | {"neurons": neurons}},
            }
            for neurons in [*self.config.study.values, self._finest]
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['config']['network']['neurons']} neurons"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Action and parameters. Collective."""
        config, data = Config.model_validate(parameters["config"]), parameters["data"]
        grid, neurons, section = ProcessGrid.create(comm), config.network.neurons, config.action
        z, y = smooth_fields(neurons, config.seed, **data)

        def action(level: Resolution) -> NetworkAction:
            return NetworkAction(
                grid,
                make_network(config, neurons, neurons, level),
                LeastSquares(section.R_m / neurons),
                z,
                y,
                strength=section.strength,
                kappa=section.kappa,
                model_precision=section.R_f,
                input_precision=section.R_0,
            )

        trained = train(config, action)
        return {**trained.values, "parameters": trained.flat}

    def table(self, points: list[Point]) -> Table:
        """Columns ``weights``, ``means`` and ``action``; gradients beside them."""
        fields, networks = [], []
        for point in points:
            config = Config.model_validate(point.parameters["config"])
            neurons = config.network.neurons
            networks.append(
                make_network(config, neurons, neurons, Resolution(config.network.cells))
            )
            flat = point.values["parameters"]
            fields.append(ControlParameters.view(flat, networks[-1].shapes).theta)
        fine, depth = fields[-1], networks[-1].depth
        norms = []
        for network, field in zip(networks[:-1], fields[:-1], strict=True):
            ratio = self._finest // network.index.neurons
            means, copies = _cell_means(fine, ratio), _repeated(field, ratio)
            whole = depth_norm(depth, copies - fine, column_measure(networks[-1]))[0]
            norms.append((whole, depth_norm(depth, field - means, column_measure(network))[0]))
        weights, means = np.array(norms).T
        action = np.array([abs(p["action"] - points[-1]["action"]) for p in points[:-1]])
        return Table(
            "neurons N",
            np.array(self.config.study.values),
            {
                "weights": Errors(weights, 1.0),
                "means": Errors(means, 2.0),
                "action": Errors(action, 2.0),
            },
            np.array([p.seconds for p in points[:-1]]),
            {"gradients": np.array([p["evaluations"] for p in points[:-1]])},
        )


def smooth_fields(
    neurons: int, seed: int, samples: int, modes: int, smoothing: float
) -> tuple[Array, Array]:
    """Inputs and targets (K, N) at the midpoints of N cells; the functions do not depend on N."""
    j = np.arange(modes + 1)
    c = np.random.default_rng(seed).standard_normal((samples, modes + 1)) / np.sqrt(1.0 + j**2)
    cosines = np.cos(j[:, None] * (np.arange(neurons) + 0.5) / neurons)
    return c @ cosines, np.sin((c * np.exp(-smoothing * j**2)) @ cosines)


def _cell_means(field: Array, ratio: int) -> Array:
    """L2 projection of ``[w | b]`` (n + 1, N, N + 1) to cells that are ``ratio`` times as wide."""
    nodes, neurons, _ = field.shape
    coarse = neurons // ratio
    rows = field.reshape(nodes, coarse, ratio, neurons + 1).mean(axis=2)
    kernel = rows[:, :, :-1].reshape(nodes, coarse, coarse, ratio).mean(axis=3)
    return np.concatenate([kernel, rows[:, :, -1:]], axis=2)


def _repeated(field: Array, ratio: int) -> Array:
    """The same piecewise constant field on cells that are ``ratio`` times as narrow."""
    kernel = np.repeat(field[:, :, :-1], ratio, axis=2)
    return np.repeat(np.concatenate([kernel, field[:, :, -1:]], axis=2), ratio, axis=1)
