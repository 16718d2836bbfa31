"""Refinement of the neuron index: networks of more and more neurons that stand for one neural field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy import sparse

from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import Config
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import Parameters as ControlParameters
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.spaces.prolongation import along
from fem_deepest.studies.column import Errors
from fem_deepest.studies.fields import FieldsConfig, cells_of, field_action
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Factor, Study, StudySection
from fem_deepest.studies.table import Table
from fem_deepest.studies.training import field_norms, train

Array = NDArray[np.float64]


class NeuronsSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of neurons."""

    name: Literal["neurons"] = Field(description="this study")
    reference: Factor = Field(
        default=4, description="cells of the reference, a multiple of those of the largest value"
    )
    nested: bool = Field(
        default=False, description="nested iteration along the index, through the smaller values"
    )


class NeuronsConfig(FieldsConfig):
    """Configuration of :class:`NeuronsStudy`."""

    study: NeuronsSection

    @model_validator(mode="after")
    def _nested(self) -> NeuronsConfig:
        if "neurons" in self.network.model_fields_set:
            raise ValueError("network.neurons is decided by the study; remove it")
        element, values = self.network.element, self.study.values
        finest = self.study.reference * cells_of(element, values[-1])
        odd = [n for n in values if not cells_of(element, n) or finest % cells_of(element, n)]
        if odd:
            raise ValueError(
                f"study.values has {odd[0]}, whose cells are not unions of those of the reference with "
                f"{finest} cells; take divisors of it{', plus one' if element == 'P1' else ''}"
            )
        return self


class NeuronsStudy(Study):
    """Distance of trained networks from one with several times as many neurons.

    The problem is that of :mod:`.fields`. ``W_h = w M_S``, the integral ``int_0^1 w(t,s,s') x(t,s') ds'``.
    Where the search ends in a smooth field, as ``w = P^{-1} (1/K) sum_k sigma' p_k(s) x_k(s')`` is if
    the prior is strong or smooths along the index (``ell``),

    * ``weights``, in L2: 1 for P0, the interpolation error, and 2 for P1;
    * ``means`` (P0), the cell means of the reference against the values on the coarse cells: 2, because
      mean and midpoint value differ by ``O(N^-2)``;
    * ``weights H1`` (P1), the seminorm along the index: 1;
    * ``action``: 2.

    P1 needs ``mass = "consistent"`` for this: the lumped projection of the data is of first order at the
    ends of the interval, the one of L2 is of second. With ``ell = 0`` and a weaker prior
    (``lambda = 3e-3`` with P0 and the other defaults) the action still converges so but the fields do
    not: nothing in the prior smooths along the index, and the table shows it.
    The depth mesh is the same for all points. The reference has an error of its
    own, see :class:`fem_deepest.studies.depth.DepthStudy`.
    """

    title = "Refinement of the neuron index against a finer field"
    Config = NeuronsConfig
    config: NeuronsConfig

    def __init__(self, config: NeuronsConfig) -> None:
        self.config = config
        self._linear = config.network.element == "P1"
        cells = cells_of(config.network.element, config.study.values[-1]) * config.study.reference
        self._cells, self._finest = cells, cells + int(self._linear)
        validate(Config, self.points()[0]["config"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Errors of the field in two norms, and of the action."""
        return "weights", "weights H1" if self._linear else "means", "action"

    def points(self) -> list[dict[str, Any]]:
        """One for each number of neurons, the reference last."""
        values, cells = self.config.study.values, self.config.network.cells
        found = []
        for i, neurons in enumerate([*values, self._finest]):
            levels = [*values[:i], neurons] if self.config.study.nested else []
            training = self.config.training(self._cells, neurons, cells, levels)
            found.append({"kind": "field", **training})
        return found

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['config']['network']['neurons']} neurons"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Action and parameters. Collective."""
        config = Config.model_validate(parameters["config"])
        grid = ProcessGrid.create(comm)
        trained = train(config, field_action(config, parameters["fields"], grid))
        return {**trained.values, "parameters": trained.flat}

    def table(self, points: list[Point]) -> Table:
        """Errors of the field and of the action; gradients and iterations beside them."""
        fields, networks = [], []
        for point in points:
            config = Config.model_validate(point.parameters["config"])
            level = Resolution(config.network.cells)
            networks.append(make_network(config, self._cells, self._cells, level))
            flat = point.values["parameters"]
            fields.append(ControlParameters.view(flat, networks[-1].shapes).theta)
        fine, norms = networks[-1], []
        for network, field in zip(networks[:-1], fields[:-1], strict=True):
            rows, columns = network.coupling.prolongation(fine.coupling)
            error = along(columns, along(rows, field, 1), 2) - fields[-1]
            whole, seminorm = field_norms(fine, error)
            if not self._linear:
                # The cell means of the error: its projection in L2.
                dual = along(_transposed(rows), _with_mass(fine, error, True), 1)
                error = along(_transposed(columns), dual, 2)
                seminorm = field_norms(network, _with_mass(network, error, False))[0]
            norms.append((whole, seminorm))
        in_l2, other = (np.array(values) for values in zip(*norms, strict=True))
        action = np.array([abs(p["action"] - points[-1]["action"]) for p in points[:-1]])
        orders = (2.0, 1.0) if self._linear else (1.0, 2.0)
        errors = (Errors(in_l2, orders[0]), Errors(other, orders[1]), Errors(action, 2.0))
        return Table(
            "neurons N",
            np.array(self.config.study.values),
            dict(zip(self.columns, errors, strict=True)),
            np.array([p.seconds for p in points[:-1]]),
            {
                "gradients": np.array([p["evaluations"] for p in points[:-1]]),
                "iterations": np.array([p["iterations"] for p in points[:-1]]),
            },
        )


def _transposed(matrix: sparse.csr_matrix | None) -> sparse.csr_matrix | None:
    """``P^T``, if the rows or columns of a coupling are interpolated at all."""
    return None if matrix is None else matrix.T


def _with_mass(network: Any, field: Array, forward: bool) -> Array:
    """``M_r (x) M_c`` applied to a field (n + 1, rows, columns), or its inverse."""
    for axis, factor in ((1, network.coupling.rows), (2, network.coupling.columns)):
        field = factor.apply_mass(field, axis) if forward else factor.solve_mass(field, axis)
    return field
