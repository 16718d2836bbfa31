"""What a study owes, and the part of its configuration that all studies share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from fem_deepest.configuration.section import Section
from fem_deepest.configuration.train import Solve
from fem_deepest.studies.points import Parameters, Point, Points
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Count = Annotated[int, Field(ge=1)]
Factor = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

NORMAL = 1.959963984540054  # half-width of a 95 % interval of a Gaussian, in deviations
EXACTLY = " exactly"  # behind the name of sampled errors: the column that they estimate
_STRAY = 4.0  # standard errors: 1 in 15000


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


class NamedSection(Section):
    """``[study]``: which study."""

    name: str = Field(description="the study")


class StudySection(NamedSection):
    """``[study]`` of a study that refines a number: the values it goes through."""

    values: list[Count] = Field(description="values of the refined number, increasing")

    @field_validator("values")
    @classmethod
    def _increasing(cls, values: list[Any]) -> list[Any]:
        if not values or values != sorted(set(values)):
            raise ValueError(f"got {values}, expected numbers that increase, coarse to fine")
        return values


class StudySolve(Solve):
    """``[solve]`` of a study of networks: to a stationary point, or the search would be measured."""

    polish: bool = Field(default=True, description="Newton to a stationary point afterwards")


class StudyConfig(Section):
    """A study; its own sections come in addition."""

    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of all that is random")
    study: NamedSection
    check: Check = Check()
    output: StudyOutput = StudyOutput()


class Left(Protocol):
    """A table that a study leaves: :class:`.Table`, or :class:`.Listing` over things that have names."""

    def to_csv(self) -> str:
        """All columns to the last bit."""

    def to_markdown(self, last: int | None = None) -> str:
        """For readers."""

    def metrics(self, last: int | None = None) -> dict[str, float]:
        """Numbers for the record of the run."""


class Study(ABC):
    """A study: points that are pure functions of their parameters, and the tables they make.

    Attributes:
        title: Title of the figure.
        Config: Model of its configuration.
        tables_left: Names of the tables it leaves; the first is the one that is checked.
        figures_left: Names of the figures it leaves.
        config: Its configuration.
    """

    title: ClassVar[str]
    Config: ClassVar[type[StudyConfig]]
    tables_left: ClassVar[tuple[str, ...]] = ("table",)
    figures_left: ClassVar[tuple[str, ...]] = ("convergence",)
    config: StudyConfig

    def __init__(self, config: StudyConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the errors in the table."""

    @abstractmethod
    def points(self) -> list[dict[str, Any]]:
        """Parameters of all points, cheap ones first. Not collective."""

    @abstractmethod
    def label(self, parameters: Parameters) -> str:
        """What tells a point from others, for a reader. Not collective."""

    @abstractmethod
    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Compute one point; ``converged`` among the values says whether a solver did. Collective."""

    @abstractmethod
    def table(self, points: list[Point]) -> Left:
        """The table of all points, in the order of :meth:`points`. Not collective."""

    def further(self, points: list[Point]) -> Mapping[str, Left]:
        """Further tables by name, those of ``tables_left[1:]``. Not collective."""
        return {}

    def failures(self, tables: Mapping[str, Any]) -> list[str]:
        """What is not as theory has it, one sentence each. Not collective."""
        check = self.config.check
        found: list[str] = tables[self.tables_left[0]].check(
            check.tolerance, check.caps, check.last
        )
        return found

    def told(self, tables: Mapping[str, Any]) -> list[str]:
        """What is told at the end, one line each. Not collective."""
        table: Table = tables[self.tables_left[0]]
        metrics, lines = table.metrics(self.config.check.last), list[str]()
        for name, errors in table.errors.items():
            wanted = "" if errors.expected is None else f" (expected {errors.expected:.3g})"
            order = metrics[f"{name} order"]
            lines.append(f"{name}: finest {metrics[name]:.3g}, order {order:.2f}{wanted}")
        return lines

    @classmethod
    def read(cls, name: str, text: str) -> Left:
        """A table from its CSV file. Not collective.

        Args:
            name: Which, one of ``tables_left``.
            text: The file.

        Raises:
            InputError: This is no such table.
        """
        return Table.from_csv(text)

    @classmethod
    def figures(cls, tables: Mapping[str, Any], last: int) -> dict[str, Figure]:
        """Figures by name, those of ``figures_left``, from the tables alone. Not collective.

        Args:
            tables: What the study has left.
            last: Rows that are fitted, from the finest.
        """
        # Matplotlib takes half a second to import; a study without figures does not wait for it.
        from fem_deepest.figures import convergence

        return {"convergence": convergence(tables["table"], cls.title, last)}


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


def strays(table: Table) -> list[str]:
    """Sampled errors that are too far from the exact ones beside them, one sentence each.

    The exact values of a column are in the one whose name has :data:`EXACTLY` behind it, where there is
    one. Four standard errors are allowed. Not collective.
    """
    found = list[str]()
    known = {name: errors.values for name, errors in table.errors.items()} | dict(table.others)
    for name, errors in table.errors.items():
        exact = known.get(name + EXACTLY)
        if exact is None or errors.low is None or errors.high is None:
            continue
        above = exact > errors.values
        half = np.where(above, errors.high - errors.values, errors.values - errors.low)
        off = np.abs(exact - errors.values) / (half / NORMAL)
        if not off.max() <= _STRAY:
            found.append(
                f"{name}: an error is {off.max():.2g} standard errors off the exact one, expected "
                f"{_STRAY:g} at most"
            )
    return found
