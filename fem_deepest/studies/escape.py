"""Escape from a well of the double-well action: the law of Eyring and Kramers, measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from fem_deepest.configuration.section import Section
from fem_deepest.studies.kramers import check_length, effective, eyring_kramers
from fem_deepest.studies.line import exact, line
from fem_deepest.studies.listing import Listing
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import (
    NORMAL,
    Check,
    Count,
    Factor,
    Left,
    Positive,
    Study,
    StudyConfig,
    StudySection,
)
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

MEAN, LOW, HIGH = "mean escape time", "mean, lower end", "mean, upper end"
LAW, EFFECTIVE, SPREAD = "Eyring-Kramers", "effective potential", "deviation / mean"
MEASURED, CORRECTED = "measured", "measured, corrected"
SLOPE, PREFACTOR, LOWER, UPPER = "slope", "log prefactor", ", lower end", ", upper end"
_LONGEST = 60.0  # times of Eyring and Kramers until a path is given up
_HALVES = 2.0  # half-widths of 95 % intervals: 3.9 standard errors, 1 in 11000


class EscapeSection(StudySection):
    """``[study]`` of this study; ``values`` are ``1/eps``."""

    name: Literal["escape"] = Field(description="this study")
    values: list[Positive] = Field(  # type: ignore[assignment]
        default=[8.0, 10.0, 12.0, 14.0, 16.0], min_length=2, description="`1/eps`, increasing"
    )
    samples: Factor = Field(default=2000, description="paths at each temperature")
    batch: Count = Field(default=1000, description="paths side by side, on one rank")


class WellSection(Section):
    """``[problem]``: Allen-Cahn on an interval with natural ends."""

    L: Positive = Field(default=1.0, description="length, below pi")
    cells: Count = Field(default=8, description="cells of the mesh")
    step: Positive = Field(default=0.1, description="time step")
    target: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.8,
        description="a path has escaped when its mean is this high; the other well is 1",
    )


class EscapeCheck(Check):
    """``[check]`` of this study."""

    tolerance: Positive = Field(
        default=0.05,
        description="how far the corrected slope may be from `L/4`, relatively, besides its interval",
    )


class EscapeConfig(StudyConfig):
    """Configuration of :class:`EscapeStudy`."""

    study: EscapeSection
    problem: WellSection = WellSection()
    check: EscapeCheck = EscapeCheck()


class EscapeStudy(Study):
    """Mean time until the mean of a path that starts in one well, -1, has come to the other, 1.

    ``log E tau`` against ``1/eps`` has the slope ``L/4``, the barrier, in the limit of small noise. At a
    finite temperature the slope is smaller; the correction is that of :mod:`fem_deepest.studies.kramers`,
    and what is checked is the slope of the times that are corrected by it. The tables:

    * ``table``: at each temperature the mean time with its 95 % interval beside the law and the escape
      time in the effective potential, as it is seen once in a time step, and the deviation over the
      mean, 1 for an exponential law;
    * ``slope``: slopes and intercepts of weighted regressions.
    """

    title = "Escape from a well"
    Config = EscapeConfig
    config: EscapeConfig
    tables_left = ("table", "slope")
    figures_left = ("escape",)
    columns = ()

    def __init__(self, config: EscapeConfig) -> None:
        super().__init__(config)
        check_length(config.problem.L)

    def points(self) -> list[dict[str, Any]]:
        """One for each temperature."""
        section = self.config.study
        return [
            {
                "study": "escape",
                "1/eps": value,
                **self.config.problem.model_dump(),
                "samples": section.samples,
                "batch": section.batch,
                # Independent paths at each temperature, so that the regressions have their intervals.
                "seed": _seed(self.config.seed, value),
            }
            for value in section.values
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"1/eps = {parameters['1/eps']:g}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``times``, (samples,). Collective."""
        # All of noise and spde: imported only where something is drawn.
        from fem_deepest.studies.escape_sampled import Escape, escape_times

        p, eps = parameters, 1.0 / parameters["1/eps"]
        longest = _LONGEST * eyring_kramers(p["L"], eps)
        escape = Escape(p["L"], p["cells"], eps, p["step"], p["target"], longest)
        return {"times": escape_times(escape, p["samples"], p["batch"], p["seed"], comm)}

    def table(self, points: list[Point]) -> Table:
        """Mean times and what they should be. Not collective."""
        problem, inverse = self.config.problem, np.array(self.config.study.values)
        times = np.array([p.values["times"] for p in points])
        mean, spread = times.mean(axis=1), times.std(axis=1, ddof=1)
        half = NORMAL * spread / np.sqrt(times.shape[1])
        law = [eyring_kramers(problem.L, 1.0 / x) for x in inverse]
        known = [
            effective(problem.L, 1.0 / x, problem.cells, problem.target, step=problem.step)
            for x in inverse
        ]
        others = {
            MEAN: mean,
            LOW: mean - half,
            HIGH: mean + half,
            LAW: np.array(law),
            EFFECTIVE: np.array(known),
            SPREAD: spread / mean,
        }
        return Table("1/eps", inverse, {}, np.array([p.seconds for p in points]), others)

    def further(self, points: list[Point]) -> Mapping[str, Listing]:
        """``slope``: regressions. Not collective."""
        table = self.table(points)
        found = table.others
        deviation = (found[HIGH] - found[LOW]) / (2.0 * NORMAL * found[MEAN])
        correction = found[LAW] / found[EFFECTIVE]
        lines = {
            MEASURED: line(table.refined, np.log(found[MEAN]), deviation),
            CORRECTED: line(table.refined, np.log(found[MEAN] * correction), deviation),
            # With the same weights: what the measured line should be at these temperatures.
            EFFECTIVE: exact(line(table.refined, np.log(found[EFFECTIVE]), deviation)),
            LAW: exact(line(table.refined, np.log(found[LAW]), deviation)),
        }
        columns = dict[str, Array]()
        for name, value, error in ((SLOPE, 0, 1), (PREFACTOR, 2, 3)):
            values = np.array([x[value] for x in lines.values()])
            halves = NORMAL * np.array([x[error] for x in lines.values()])
            columns |= {name: values, name + LOWER: values - halves, name + UPPER: values + halves}
        return {"slope": Listing("line", tuple(lines), columns)}

    def failures(self, tables: Mapping[str, Any]) -> list[str]:
        """A corrected slope that is not ``L/4``. Not collective."""
        slopes, barrier = tables["slope"], self.config.problem.L / 4.0
        i = slopes.names.index(CORRECTED)
        slope, half = slopes[SLOPE][i], slopes[SLOPE + UPPER][i] - slopes[SLOPE][i]
        slack = _HALVES * half + self.config.check.tolerance * barrier
        if abs(slope - barrier) <= slack:
            return []
        return [
            f"the slope of log E tau in 1/eps is {slope:.4g} after correction, expected {barrier:.4g} "
            f"within {slack:.2g}"
        ]

    def told(self, tables: Mapping[str, Any]) -> list[str]:
        """The slopes, one line each. Not collective."""
        slopes = tables["slope"]
        return [
            f"{name}: slope of log E tau in 1/eps {slopes[SLOPE][i]:.4f} "
            f"[{slopes[SLOPE + LOWER][i]:.4f}, {slopes[SLOPE + UPPER][i]:.4f}]"
            for i, name in enumerate(slopes.names)
        ]

    @classmethod
    def read(cls, name: str, text: str) -> Left:
        """A table from its CSV file. Not collective."""
        return Listing.from_csv(text) if name == "slope" else Table.from_csv(text)

    @classmethod
    def figures(cls, tables: Mapping[str, Any], last: int) -> dict[str, Figure]:
        """Escape times against ``1/eps``. Not collective."""
        from fem_deepest.figures.escape import escape  # Matplotlib; see Study.figures

        table, slopes = tables["table"], tables["slope"]
        found = table.others
        i = slopes.names.index(MEASURED)
        return {
            "escape": escape(
                table.refined,
                (found[MEAN], found[LOW], found[HIGH]),
                found[LAW],
                found[EFFECTIVE],
                (slopes[SLOPE][i], slopes[SLOPE + LOWER][i], slopes[SLOPE + UPPER][i]),
                slopes[SLOPE][slopes.names.index(LAW)],
                cls.title,
            )
        }


def _seed(seed: int, value: float) -> int:
    """A seed below 2^32 for each temperature."""
    bits = int(np.float64(value).view(np.uint64))
    return int(np.random.SeedSequence([seed, bits]).generate_state(1)[0])
