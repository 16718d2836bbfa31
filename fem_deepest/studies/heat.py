"""Strong and weak errors of the stochastic heat equation in ``h`` and ``k``: exact sums, or samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from fem_deepest.config import Section
from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Factor, Positive, Study, StudyConfig, StudySection
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Refined = Literal["h", "k"]
_CAP = 2.0  # order of P1 in h


class HeatStudySection(StudySection):
    """``[study]`` of these studies; ``values`` are numbers of cells ``N`` and of steps ``n``."""

    name: Literal["heat_strong", "heat_weak"] = Field(description="this study")
    values: list[Factor] = Field(
        default=[8, 16, 32, 64, 128, 256, 512],
        description="cells `N` (refine h) and steps `n` (refine k), increasing",
    )
    beta: list[Positive] = Field(
        default=[0.5, 0.75, 1.5, 2.0],
        min_length=1,
        description="regularity of the noise, `q_j = j^{-2a}` with `beta = a + 1/2`; 0.5 is white",
    )
    refine: list[Refined] = Field(
        default=["h", "k"], min_length=1, description="the mesh, the time step, or both in turn"
    )

    @model_validator(mode="after")
    def _different(self) -> HeatStudySection:
        for name, chosen in (("beta", self.beta), ("refine", self.refine)):
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"study.{name} = {chosen} names one twice; name each once")
        return self


class HeatSection(Section):
    """``[problem]``: ``du = -A u dtau + dW``, ``A = -nu d^2/dx^2 + c`` on (0,1), ``u = 0`` at the ends."""

    T: Positive = Field(default=0.5, description="end of the time")
    nu: Positive = Field(default=1.0, description="diffusion")
    c: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0, description="reaction"
    )


class HeatConfig(StudyConfig):
    """Configuration of :class:`HeatStrongStudy` and :class:`HeatWeakStudy`."""

    study: HeatStudySection
    problem: HeatSection = HeatSection()


class HeatStudy(Study):
    """Errors of P1 in ``h = 1/N`` (exact in time) and of backward Euler in ``k = T/n`` (exact in space).

    Both are sums over modes and not sampled. With ``|| A^{(beta-1)/2} Q^{1/2} ||_HS`` almost finite, the
    strong error is of order ``h^beta`` and ``k^{beta/2}``, the weak error of ``|u|^2`` of twice that, both
    capped at ``h^2`` and ``k`` (Y. Yan, Galerkin finite element methods for stochastic parabolic partial
    differential equations, 2005, doi:10.1137/040605278; A. Debussche, J. Printems, Weak order for the
    discretization of the stochastic heat equation, 2009, doi:10.1090/S0025-5718-08-02184-4). At a
    cap that is just reached a logarithm comes on top.
    """

    Config = HeatConfig
    config: HeatConfig
    figures_left = ("convergence_h", "convergence_k")
    error: ClassVar[str]
    power: ClassVar[float]

    @property
    def columns(self) -> tuple[str, ...]:
        """Regularity and refined step."""
        section = self.config.study
        return tuple(column(beta, axis) for axis in section.refine for beta in section.beta)

    def points(self) -> list[dict[str, Any]]:
        """One for each value, regularity and refined step."""
        section, problem = self.config.study, self.config.problem
        return [
            {
                "equation": {"a": beta - 0.5, **problem.model_dump()},
                "refine": axis,
                "value": value,
            }
            for value in section.values
            for axis in section.refine
            for beta in section.beta
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        what = "cells" if parameters["refine"] == "h" else "steps"
        return f"beta {parameters['equation']['a'] + 0.5:g}, {parameters['value']} {what}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Both errors; the points are small, and every rank computes them. Not collective."""
        heat = ModalHeat(**parameters["equation"])
        value = parameters["value"]
        grid = Grid(cells=value) if parameters["refine"] == "h" else Grid(steps=value)
        return {"strong": heat.strong_error(grid), "weak": heat.weak_error(grid)}

    def table(self, points: list[Point]) -> Table:
        """Columns ``beta 0.5, h`` and so on."""
        section = self.config.study
        found = {
            (p.parameters["value"], p.parameters["refine"], p.parameters["equation"]["a"]): p
            for p in points
        }
        errors = {
            column(beta, axis): Errors(
                np.array([found[n, axis, beta - 0.5][self.error] for n in section.values]),
                self.order(beta, axis),
            )
            for axis in section.refine
            for beta in section.beta
        }
        seconds = [
            sum(p.seconds for (n, *_), p in found.items() if n == value) for value in section.values
        ]
        return Table("cells N, steps n", np.array(section.values), errors, np.array(seconds))

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """One for each refined step. Not collective."""
        from fem_deepest.figures import convergence  # Matplotlib; see Study.figures

        table, found = tables["table"], {}
        for axis, quantity in (("h", "cells N"), ("k", "steps n")):
            errors = {n: e for n, e in table.errors.items() if n.endswith(f", {axis}")}
            if errors:
                part = Table(quantity, table.refined, errors, table.seconds)
                found[f"convergence_{axis}"] = convergence(part, f"{cls.title} in {axis}", last)
        return found

    @classmethod
    def order(cls, beta: float, axis: Refined) -> float:
        """Order in the refined step that theory gives."""
        order = min(cls.power * beta, _CAP)
        return order if axis == "h" else 0.5 * order


class HeatStrongStudy(HeatStudy):
    """``(E |X(T) - X_h(T)|^2)^{1/2}``, both driven by the same noise; see :class:`HeatStudy`."""

    title = "Stochastic heat equation: strong error"
    error, power = "strong", 1.0


class HeatWeakStudy(HeatStudy):
    """``| E |X(T)|^2 - E |X_h(T)|^2 |``; see :class:`HeatStudy`."""

    title = "Stochastic heat equation: weak error"
    error, power = "weak", 2.0


def column(beta: float, axis: Refined) -> str:
    """Name of the errors of one regularity and one refined step."""
    return f"beta {beta:g}, {axis}"
