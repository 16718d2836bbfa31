"""Strong and weak errors of the stochastic heat equation in ``h`` and ``k``: exact sums, or samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.studies.column import Errors
from fem_deepest.studies.heat_config import HeatConfig, Refined
from fem_deepest.studies.heat_sampled import exact_errors, sampled_errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import EXACTLY, Study, strays
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_CAP = 2.0  # order of P1 in h


class HeatStudy(Study):
    """Errors of P1 in ``h = 1/N`` (exact in time) and of backward Euler in ``k = T/n`` (exact in space).

    Both are sums over modes and not sampled. With ``|| A^{(beta-1)/2} Q^{1/2} ||_HS`` almost finite, the
    strong error is of order ``h^beta`` and ``k^{beta/2}``, the weak error of ``|u|^2`` of twice that, both
    capped at ``h^2`` and ``k`` (Y. Yan, Galerkin finite element methods for stochastic parabolic partial
    differential equations, 2005, doi:10.1137/040605278; A. Debussche, J. Printems, Weak order for the
    discretization of the stochastic heat equation, 2009, doi:10.1090/S0025-5718-08-02184-4). At a
    cap that is just reached a logarithm comes on top.

    The mode "mc" samples fully discrete solutions instead, each against the next finer one of the same
    path (the last against one twice as fine), with 95 % intervals: distances fall like errors, without
    the floor that one reference puts under all. Their orders must be those of the sums, within the
    tolerance; the distances themselves are known exactly too, and must be met within four standard
    errors.
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
        """For sums one for each value, regularity and refined step; else batches of samples."""
        section = self.config.study
        cases = [(beta, axis) for axis in section.refine for beta in section.beta]
        if section.mode == "exact":
            return [
                {"equation": self._equation(beta, None), "refine": axis, "value": value}
                for value in section.values
                for beta, axis in cases
            ]
        sampling = self.config.sampling
        found = []
        for beta, axis in cases:
            finest = 2 * section.values[-1]
            found.append(
                {
                    "equation": self._equation(beta, None if beta == 0.5 else sampling.modes),
                    "refine": axis,
                    "sizes": [self._size(axis, v) for v in (*section.values, finest)],
                }
            )
        batches = range(0, sampling.samples, sampling.batch)
        return [
            *found,
            *(
                {
                    **p,
                    "seed": self.config.seed,
                    "samples": [b, min(b + sampling.batch, sampling.samples)],
                }
                for b in batches
                for p in found
            ),
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        start = f"beta {parameters['equation']['a'] + 0.5:g}, "
        if "value" in parameters:
            what = "cells" if parameters["refine"] == "h" else "steps"
            return f"{start}{parameters['value']} {what}"
        if "samples" in parameters:
            return f"{start}{parameters['refine']}, samples {parameters['samples'][0]} and on"
        return f"{start}{parameters['refine']}, exactly"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Both errors; exact ones are computed by every rank, samples spread. Collective."""
        heat = ModalHeat(**parameters["equation"])
        if "value" in parameters:
            value = parameters["value"]
            grid = Grid(cells=value) if parameters["refine"] == "h" else Grid(steps=value)
            return {"strong": heat.strong_error(grid), "weak": heat.weak_error(grid)}
        sizes = [(int(N), int(n)) for N, n in parameters["sizes"]]
        if "samples" not in parameters:
            every = ModalHeat(**{**parameters["equation"], "modes": None})
            grids = [
                Grid(cells=N) if parameters["refine"] == "h" else Grid(steps=n)
                for N, n in sizes[:-1]
            ]
            return {
                **exact_errors(heat, sizes),
                "strong sums": [every.strong_error(grid) for grid in grids],
                "weak sums": [every.weak_error(grid) for grid in grids],
            }
        samples = range(*parameters["samples"])
        return sampled_errors(heat, sizes, parameters["seed"], samples, comm)

    def table(self, points: list[Point]) -> Table:
        """Columns ``beta 0.5, h`` and so on; beside sampled ones the exact values."""
        section = self.config.study
        errors, others, spent = {}, {}, np.zeros(len(section.values))
        for beta in section.beta:
            for axis in section.refine:
                name = column(beta, axis)
                own = [p for p in points if _case(p) == (beta - 0.5, axis)]
                if section.mode == "exact":
                    values = np.array([p[self.error] for p in own])
                    errors[name] = Errors(values, self.order(beta, axis))
                    spent += [p.seconds for p in own]
                else:
                    exact = own[0].values[self.error]
                    samples = np.concatenate([p.values[self.error] for p in own[1:]], axis=1)
                    errors[name] = self._sampled(samples, own[0].values[f"{self.error} sums"])
                    others[name + EXACTLY] = exact
                    spent += sum(p.seconds for p in own) / len(spent)
        order = self.columns
        return Table(
            "cells N, steps n",
            np.array(section.values),
            {name: errors[name] for name in order},
            spent,
            others,
        )

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Orders, and sampled values that are not the exact ones. Not collective."""
        return [*super().failures(tables), *strays(tables["table"])]

    def _sampled(self, samples: Array, sums: Array) -> Errors:
        """Distances with intervals; the expected order is that of the sums."""
        q = np.array(self.config.study.values)
        rows = Table("q", q, {"e": Errors(sums)}, np.zeros(q.size))
        order = rows.fit("e", self.config.check.last).order
        errors = Errors.sampled(samples, order)
        if self.error == "strong":
            return errors.root(2)
        if errors.values[0] < 0.0:
            values, low, high = np.array([errors.values, errors.low, errors.high])
            return Errors(-values, order, -high, -low)
        return errors

    def _equation(self, beta: float, modes: int | None) -> dict[str, Any]:
        return {"a": beta - 0.5, "modes": modes, **self.config.problem.model_dump()}

    def _size(self, axis: Refined, value: int) -> list[int]:
        sampling = self.config.sampling
        return [value, sampling.steps] if axis == "h" else [sampling.cells, value]

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


def _case(point: Point) -> tuple[float, Refined]:
    return point.parameters["equation"]["a"], point.parameters["refine"]


def column(beta: float, axis: Refined) -> str:
    """Name of the errors of one regularity and one refined step."""
    return f"beta {beta:g}, {axis}"
