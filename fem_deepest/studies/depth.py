"""Depth refinement of a network: the trained weight field and the action as the layers grow in number."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from fem_deepest.configuration.data import Data
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import ActionSection, Config
from fem_deepest.runs.network import make_network
from fem_deepest.runs.problem import Problem, make_loss
from fem_deepest.runs.train import load_data
from fem_deepest.spaces import Parameters as ControlParameters
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Factor, Study, StudyConfig, StudySection, StudySolve
from fem_deepest.studies.table import Table
from fem_deepest.studies.training import column_measure, depth_norm, train


class DepthSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of depth cells."""

    name: Literal["depth"] = Field(description="this study")
    reference: Factor = Field(
        default=4, description="cells of the reference, a multiple of the largest value"
    )

    @model_validator(mode="after")
    def _nested(self) -> DepthSection:
        finest = self.reference * self.values[-1]
        odd = [n for n in self.values if finest % n]
        if odd:
            raise ValueError(
                f"values has {odd[0]}, whose mesh is not nested in that of the reference with "
                f"{finest} cells; take divisors of it"
            )
        return self


class DepthConfig(StudyConfig):
    """Configuration of :class:`DepthStudy`: that of a training, without ``network.cells``."""

    study: DepthSection
    data: Data = Data()
    network: NetworkSection = NetworkSection()
    action: ActionSection = ActionSection()
    solve: StudySolve = StudySolve()

    @model_validator(mode="after")
    def _no_cells(self) -> DepthConfig:
        if "cells" in self.network.model_fields_set:
            raise ValueError(
                "network.cells is what the study refines; remove it, give study.values"
            )
        if self.solve.levels != "auto":
            raise ValueError("solve.levels is chosen for each value; remove it")
        if self.solve.adapt != "none":
            raise ValueError(
                f'solve.adapt = "{self.solve.adapt}" gives meshes that are not nested, and the study '
                "compares nested ones; remove it"
            )
        return self


class DepthStudy(Study):
    """Distance of trained networks from one with several times as many layers.

    All points start from the same matrix on the coarsest mesh and go through the same levels, so
    that they follow the same minimiser. It solves an elliptic problem in depth (the prior is the
    H1 norm), with a right-hand side that is smooth where activation and observations are. So, with
    P1 weights and a depth scheme of order q,

    * ``weights``, in L2: ``min(q, 2)``: interpolation and duality, plus the error of the states;
    * ``weights H1``, the seminorm: 1;
    * ``action``: ``min(q, 2)``: that of the scheme and, where the gradient vanishes, the square of
      the H1 error.

    The reference with ``r`` times the cells has an error of its own: the last observed order is
    larger than q by ``log2((1 - (2 r)^-q) / (1 - r^-q))``, that is 0.22 for q = 1 and 0.07 for
    q = 2 with ``r = 4``.
    """

    title = "Refinement in depth against a finer network"
    Config = DepthConfig
    config: DepthConfig
    columns = ("weights", "weights H1", "action")

    def __init__(self, config: DepthConfig) -> None:
        self.config = config
        self._finest = config.study.values[-1] * config.study.reference
        values = config.model_dump(exclude={"study", "check", "output"}, by_alias=True)
        coarsest = validate(Config, values)
        self._data = load_data(coarsest)[0]
        # Refuses a network or a loss that does not go with the data.
        make_network(coarsest, self._data.features, self._data.outputs, Resolution(1))
        make_loss(coarsest, self._data.is_classification)

    def points(self) -> list[dict[str, Any]]:
        """One for each number of cells, the reference last."""
        base = self.config.model_dump(exclude={"study", "check", "output"}, by_alias=True)
        # The name of a file is not enough: its contents may have changed.
        content = self._data.inputs.tobytes() + self._data.targets.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        return [
            {
                "kind": "trained",
                "config": base | {"network": base["network"] | {"cells": cells}},
                "data": digest,
            }
            for cells in [*self.config.study.values, self._finest]
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['config']['network']['cells']} cells"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Action and parameters. Collective."""
        config = Config.model_validate(parameters["config"])
        problem = Problem.create(config, self._data, None)
        grid = ProcessGrid.create(comm)
        trained = train(config, lambda level: problem.action(level, grid))
        return {
            **trained.values,
            "parameters": trained.flat,
            "sizes": [trained.network.inputs, trained.network.outputs],
        }

    def table(self, points: list[Point]) -> Table:
        """Columns ``weights``, ``weights H1`` and ``action``; gradients beside them."""
        networks, fields = [], []
        for point in points:
            config = Config.model_validate(point.parameters["config"])
            inputs, outputs = (int(size) for size in point.values["sizes"])
            networks.append(make_network(config, inputs, outputs, Resolution(config.network.cells)))
            flat = point.values["parameters"]
            fields.append(ControlParameters.view(flat, networks[-1].shapes).theta)
        fine, scale = networks[-1].depth, column_measure(networks[-1])
        norms = np.array(
            [
                depth_norm(fine, network.depth.prolong(fine, field) - fields[-1], scale)
                for network, field in zip(networks[:-1], fields[:-1], strict=True)
            ]
        )
        action = np.array([abs(p["action"] - points[-1]["action"]) for p in points[:-1]])
        order = min(networks[-1].scheme.order, 2)
        return Table(
            "depth cells n",
            np.array(self.config.study.values),
            {
                "weights": Errors(norms[:, 0], order),
                "weights H1": Errors(norms[:, 1], 1.0),
                "action": Errors(action, order),
            },
            np.array([p.seconds for p in points[:-1]]),
            {"gradients": np.array([p["evaluations"] for p in points[:-1]])},
        )
