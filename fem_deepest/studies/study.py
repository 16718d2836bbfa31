"""What a study owes, and the part of its configuration that all studies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Protocol

from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from fem_deepest.config import Section, Solve
from fem_deepest.studies.points import Parameters, Point, Points
from fem_deepest.studies.table import Table

Count = Annotated[int, Field(ge=1)]
Factor = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Check(Section):
    """``[check]``: what theory and experience promise; a study that breaks it has not converged."""

    tolerance: Positive = Field(
        default=0.25, description="how far a fitted order may be from the expected one"
    )
    last: Annotated[int, Field(ge=2)] = Field(
        default=3, description="rows that are fitted, from the finest"
    )
    caps: dict[str, Positive] = Field(
        default={}, description="largest finest error, by name of the column"
    )


class StudyOutput(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")


class StudySection(Section):
    """``[study]``: which study, and the values it goes through."""

    name: str = Field(description="the study")
    values: list[Count] = Field(description="values of the refined number, increasing")

    @field_validator("values")
    @classmethod
    def _increasing(cls, values: list[int]) -> list[int]:
        if not values or values != sorted(set(values)):
            raise ValueError(f"got {values}, expected numbers that increase, coarse to fine")
        return values


class StudySolve(Solve):
    """``[solve]`` of a study of networks: to a stationary point, or the search would be measured."""

    polish: bool = Field(default=True, description="Newton to a stationary point afterwards")


class StudyConfig(Section):
    """A study; its own sections come in addition."""

    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of all that is random")
    study: StudySection
    check: Check = Check()
    output: StudyOutput = StudyOutput()


class Study(Protocol):
    """A study: points that are pure functions of their parameters, and the table they make.

    Attributes:
        title: Title of the figure.
        Config: Model of its configuration.
    """

    title: ClassVar[str]
    Config: ClassVar[type[StudyConfig]]

    @property
    def config(self) -> StudyConfig:
        """Its configuration."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the errors in the table."""

    def points(self) -> list[dict[str, Any]]:
        """Parameters of all points, cheap ones first. Not collective."""

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others, for a reader. Not collective."""

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Compute one point; ``converged`` among the values says whether a solver did. Collective."""

    def table(self, points: list[Point]) -> Table:
        """The table of all points, in the order of :meth:`points`. Not collective."""


def compute(
    study: Study, store: Points, on_point: Callable[[Point], None] = lambda _: None
) -> list[Point]:
    """All points of a study, those that are kept without computing them again. Collective.

    Args:
        study: The study.
        store: Where the points are kept; all ranks of its communicator work on each point.
        on_point: Called after each; an exception it raises ends the study, which can go on later.

    Raises:
        NumericalFailure: A point failed; those before it are kept.
    """
    found = []
    for parameters in study.points():
        found.append(
            store.get(parameters, lambda p=parameters: study.solve(p, store.comm))  # type: ignore[misc]
        )
        on_point(found[-1])
    return found
