"""Iterations of a training against its refinement: they do not grow, in depth nor along the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import Config
from fem_deepest.spaces import ProcessGrid
from fem_deepest.studies.column import Errors
from fem_deepest.studies.fields import FieldsConfig, field_action
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Check, Count, Study, StudySection, StudySolve
from fem_deepest.studies.table import Table
from fem_deepest.studies.training import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE, NESTED, ALL = "one level", "nested, last level", "nested, all levels"
_SECONDS = "seconds, all levels"


class IterationsSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of neurons, or of depth cells."""

    name: Literal["iterations"] = Field(description="this study")
    refine: Literal["neurons", "cells"] = Field(description="what the values are")
    pixels: Count = Field(
        default=64, description="cells of the interval on which the functions are given"
    )


class IterationsCheck(Check):
    """``[check]`` of this study."""

    tolerance: Annotated[float, Field(gt=0.0)] = Field(
        default=0.1, description="how far the orders of growth may be from zero"
    )
    spread: Annotated[float, Field(ge=1.0)] = Field(
        default=1.2, description="largest ratio of two numbers of iterations on one level"
    )


class IterationsSolve(StudySolve):
    """``[solve]``: the quasi-Newton method alone."""

    polish: bool = Field(default=False, description="Newton to a stationary point afterwards")


class IterationsConfig(FieldsConfig):
    """Configuration of :class:`IterationsStudy`."""

    study: IterationsSection
    check: IterationsCheck = IterationsCheck()
    solve: IterationsSolve = IterationsSolve()

    @model_validator(mode="after")
    def _once(self) -> IterationsConfig:
        refine = self.study.refine
        if refine in self.network.model_fields_set:
            raise ValueError(
                f"network.{refine} is what the study refines; remove it, give study.values"
            )
        if self.solve.levels != "auto":
            raise ValueError("solve.levels is chosen for each value; remove it")
        return self


class IterationsStudy(Study):
    """Steps of the quasi-Newton method to a gradient of the same relative size, in the dual norm.

    The problem is that of :mod:`.fields`. All searches start at the same function, zero. The metric is
    the prior, which is the same inner product of functions on every level, so that the numbers of steps
    have a limit:

    * ``one level``: a search on the level alone, from the start. Its order of growth is zero;
    * ``nested, last level``: the last level of a nested iteration through the smaller values. It starts
      where the one before has ended, and the finer both are the less is left to do. The steps of all
      levels are told beside it: most of them are made on the smallest.
    """

    title = "Iterations against refinement"
    Config = IterationsConfig
    config: IterationsConfig
    figures_left = ("iterations",)
    columns = (ALONE, NESTED)

    def __init__(self, config: IterationsConfig) -> None:
        self.config = config
        for parameters in self.points():
            validate(Config, parameters["config"])

    def points(self) -> list[dict[str, Any]]:
        """Two for each value, alone and nested, but one for the smallest, where they are the same."""
        section, network = self.config.study, self.config.network
        found = []
        for i, value in enumerate(section.values):
            for levels in ([value], section.values[: i + 1])[: i + 1]:
                if section.refine == "neurons":
                    training = self.config.training(section.pixels, value, network.cells, levels)
                    training["config"]["solve"]["levels"] = [network.cells]
                else:
                    training = self.config.training(section.pixels, network.neurons, value)
                    training["config"]["solve"]["levels"] = levels
                found.append({"kind": "iterations", **training})
        return found

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        levels = Config.model_validate(parameters["config"]).levels
        by_index = self.config.study.refine == "neurons"
        values = [level[1][0] if by_index else level[0] for level in levels]
        return f"{self.config.study.refine} " + ", ".join(map(str, values))

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Action, iterations and gradients. Collective."""
        config = Config.model_validate(parameters["config"])
        grid = ProcessGrid.create(comm)
        return train(config, field_action(config, parameters["fields"], grid)).values

    def table(self, points: list[Point]) -> Table:
        """Columns ``one level`` and ``nested, last level``; steps and seconds of all levels beside."""
        alone, nested = [points[0], *points[1::2]], [points[0], *points[2::2]]

        def values(points: list[Point], name: str) -> np.ndarray:
            return np.array([float(p[name]) for p in points])

        return Table(
            self.config.study.refine,
            np.array(self.config.study.values),
            {
                ALONE: Errors(values(alone, "iterations"), 0.0),
                NESTED: Errors(values(nested, "last iterations")),
            },
            np.array([p.seconds for p in alone]),
            {
                ALL: values(nested, "iterations"),
                "gradients, one level": values(alone, "evaluations"),
                "gradients, all levels": values(nested, "evaluations"),
                _SECONDS: np.array([p.seconds for p in nested]),
                "action": values(alone, "action"),
                "action, nested": values(nested, "action"),
            },
        )

    def failures(self, tables: Mapping[str, Any]) -> list[str]:
        """What grows or varies on one level, or is more where it is nested. Not collective."""
        found = super().failures(tables)
        counts, last = (tables["table"].errors[name].values for name in (ALONE, NESTED))
        spread, most = counts.max() / counts.min(), self.config.check.spread
        if not spread <= most:
            found.append(
                f"{ALONE}: from {counts.min():.0f} to {counts.max():.0f} iterations, a ratio of "
                f"{spread:.3g}, expected {most:g} at most"
            )
        more = np.flatnonzero(last > counts)
        if more.size:
            found.append(
                f"{NESTED}: {last[more[0]]:.0f} iterations, but {counts[more[0]]:.0f} without the levels "
                "before, expected no more"
            )
        return found

    @classmethod
    def figures(cls, tables: Mapping[str, Any], last: int) -> dict[str, Figure]:
        """Steps and seconds against what is refined. Not collective."""
        from fem_deepest.figures.iterations import iterations  # Matplotlib; see Study.figures

        table: Table = tables["table"]
        counts = {name: table.errors[name].values for name in (ALONE, NESTED)}
        counts[ALL] = table.others[ALL]
        seconds = {ALONE: table.seconds, ALL: table.others[_SECONDS]}
        figure = iterations(table.refined, table.quantity, counts, seconds, cls.title)
        return {"iterations": figure}
