"""Comparison of methods that look for low action: equal budgets, the same seeds, intervals.

A *contest* is a problem with a threshold of the action and several *arms*, the methods. Every arm gets the
same seeds and the same number of gradient evaluations for each of them, and reports when the action first
fell to the threshold. What it costs to take a gradient is left out: it is the same for all arms.

Seeds are dealt out over the ranks in batches that do not depend on the number of ranks, so the tables do
not either. A part of the seeds of one arm is a point of the study: it is kept, and an interrupted study
goes on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import blocks, dealt
from fem_deepest.studies import arms
from fem_deepest.studies.arms import Trial, summary
from fem_deepest.studies.listing import Listing
from fem_deepest.studies.points import Parameters, Point, checksum
from fem_deepest.studies.study import Check, Count, Factor, NamedSection, Study, StudyConfig
from fem_deepest.studies.table import SECONDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Rate = Annotated[float, Field(ge=0.0, le=1.0)]

PLAIN, MULTISTART, ANNEALING = "plain descent", "multistart", "precision annealing"
NOISE, NOISE_ANNEALING, SGD = "noise", "noise + precision annealing", "stochastic gradient descent"


Arm = Callable[[Numbers, int], Trial]
"""From the numbers of the seeds, (S,), and the budget of each."""


class Contest(Protocol):
    """A problem and the methods that are compared on it; it lives on one rank.

    Seed number ``s`` names all that is random, together with the seed of the study: the first start of
    seed ``s`` is the same for all arms, so that they can be compared in pairs.

    Attributes:
        name: What it is called.
        threshold: An action at or below is a success.
        arms: The methods by name, in the order of the table; those that several contests have go by
            the names of this module. One evaluation is one gradient of the whole action in one column. A
            value alone counts as one too, a minibatch by its share of the samples, a Newton step by its
            measured worth in gradients, which the contest states.
    """

    name: str
    threshold: float
    arms: Mapping[str, Arm]


class ComparisonSection(NamedSection):
    """``[study]`` of a comparison."""

    budget: Count = Field(description="gradient evaluations of each arm for each seed")
    seeds: Factor = Field(default=50, description="seeds of each arm")
    arms: list[str] = Field(default=[], description="arms by name; all if empty")
    reference: str = Field(
        default=PLAIN, description="arm that the others are compared with, in pairs"
    )
    part: Count = Field(default=10, description="seeds that are computed and kept together")
    batch: Count = Field(default=5, description="seeds side by side, on one rank")


class ComparisonCheck(Check):
    """``[check]`` of a comparison: an arm whose whole interval is beyond has not done as expected."""

    least: dict[str, Rate] = Field(default={}, description="least success rates, by arm")
    most: dict[str, Rate] = Field(default={}, description="largest success rates, by arm")


class ComparisonConfig(StudyConfig):
    """A comparison; its contest adds ``[problem]``."""

    study: ComparisonSection
    check: ComparisonCheck = ComparisonCheck()


class ComparisonStudy(Study):
    """Arms of a contest: success rates with Wilson's intervals, and evaluations to success.

    A contest from TOML is a subclass that has a configuration with the sections of its problem and makes
    the :class:`Contest`; it goes by its name into :data:`fem_deepest.studies.named.STUDIES`. The tables:

    * ``table``: one row for each arm, see :func:`fem_deepest.studies.arms.summary`;
    * ``trials``: for each seed the evaluations to success and the lowest action of each arm.
    """

    Config: ClassVar[type[ComparisonConfig]]
    config: ComparisonConfig
    tables_left = ("table", "trials")
    figures_left = ("success", "evaluations")
    columns = ()

    def __init__(self, config: ComparisonConfig) -> None:
        super().__init__(config)
        names, asked = self.names(), config.study.arms
        check = config.check
        for name in [*asked, config.study.reference, *check.least, *check.most]:
            if name not in names:
                raise InputError(
                    f"there is no arm '{name}' in this comparison; expected one of {', '.join(names)}"
                )
        if len(set(asked)) < len(asked):
            raise InputError(f"study.arms names an arm twice: {', '.join(asked)}; name each once")
        self.arms = tuple(n for n in names if not asked or n in asked)
        self._contest: Contest | None = None

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of all arms of the contest, without making it. Not collective."""

    @abstractmethod
    def contest(self) -> Contest:
        """The contest, on ``MPI.COMM_SELF``. Not collective."""

    def settings(self, arm: str) -> dict[str, Any]:
        """All that a trial of the arm depends on besides the numbers of its seeds. Not collective.

        Raises:
            InputError: A file of data cannot be read; it is its contents that count.
        """
        # Which seeds and arms there are, and how they are kept, is not what one of them depends on.
        how = self.config.study.model_dump(exclude={"seeds", "arms", "reference", "part"})
        rest = self.config.model_dump(mode="json", exclude={"study", "check", "output"})
        for section in rest.values():
            if isinstance(section, dict) and section.get("path") is not None:
                section["path"] = checksum(section["path"])
        return {"study": how, **rest}

    def points(self) -> list[dict[str, Any]]:
        """One for each arm and part of the seeds."""
        section = self.config.study
        return [
            {
                **self.settings(arm),
                "arm": arm,
                "seeds": [part.start, part.stop],
            }
            for arm in self.arms
            for part in blocks(range(section.seeds), section.part)
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        first, stop = parameters["seeds"]
        return f"{parameters['arm']}, seeds {first} to {stop - 1}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``lowest``, ``hit`` and ``used`` of some seeds. Collective."""
        if self._contest is None:
            self._contest = self.contest()
        contest, section = self._contest, parameters["study"]
        arm = contest.arms[parameters["arm"]]

        def compute(part: range) -> Trial:
            return arm(np.arange(part.start, part.stop, dtype=np.int64), section["budget"])

        parts = blocks(range(*parameters["seeds"]), section["batch"])
        trials = dealt(parts, compute, comm)
        found = {
            name: np.concatenate([getattr(trial, name) for trial in trials])
            for name in ("lowest", "hit", "used")
        }
        return {**found, "threshold": contest.threshold}

    def table(self, points: list[Point]) -> Listing:
        """One row for each arm. Not collective."""
        trials, seconds = dict[str, Trial](), list[float]()
        for arm in self.arms:
            own = [p for p in points if p.parameters["arm"] == arm]
            trials[arm] = Trial(
                *(
                    np.concatenate([p.values[name] for p in own])
                    for name in ("lowest", "hit", "used")
                )
            )
            seconds.append(sum(p.seconds for p in own))
        reference = self.config.study.reference
        found = summary(trials, reference if reference in trials else None)
        found["threshold"] = np.full(len(trials), points[0]["threshold"])
        return Listing("arm", self.arms, {**found, SECONDS: np.array(seconds)})

    def further(self, points: list[Point]) -> Mapping[str, Listing]:
        """``trials``: what every seed found. Not collective."""
        columns = dict[str, Array]()
        for arm in self.arms:
            own = [p for p in points if p.parameters["arm"] == arm]
            for name in ("hit", "lowest", "used"):
                columns[f"{arm}: {name}"] = np.concatenate([p.values[name] for p in own])
        seeds = tuple(str(s) for s in range(self.config.study.seeds))
        return {"trials": Listing("seed", seeds, columns)}

    def failures(self, tables: Mapping[str, Any]) -> list[str]:
        """Success rates that are not as expected. Not collective."""
        table: Listing = tables["table"]
        failures = list[str]()
        for limits, end, sign in (
            (self.config.check.least, arms.HIGH, 1.0),
            (self.config.check.most, arms.LOW, -1.0),
        ):
            for arm, limit in limits.items():
                if arm in self.arms and sign * (limit - table[end][self.arms.index(arm)]) > 0.0:
                    i = self.arms.index(arm)
                    failures.append(
                        f"{arm}: success rate {table[arms.RATE][i]:.3g} with the interval "
                        f"[{table[arms.LOW][i]:.3g}, {table[arms.HIGH][i]:.3g}], expected "
                        f"{'at least' if sign > 0 else 'at most'} {limit:g}"
                    )
        return failures

    def told(self, tables: Mapping[str, Any]) -> list[str]:
        """Success of each arm, one line each. Not collective."""
        table: Listing = tables["table"]
        lines = []
        for i, arm in enumerate(table.names):
            median = table[arms.MEDIAN][i]
            cost = (
                f"median {median:.0f} evaluations" if np.isfinite(median) else "median not reached"
            )
            lines.append(
                f"{arm}: {table[arms.SUCCESSES][i]:.0f} of {table[arms.SEEDS][i]:.0f}, "
                f"[{table[arms.LOW][i]:.3f}, {table[arms.HIGH][i]:.3f}], {cost}, "
                f"lowest action {table[arms.LOWEST][i]:.6g}"
            )
        return lines

    @classmethod
    def read(cls, name: str, text: str) -> Listing:
        """A table from its CSV file. Not collective."""
        return Listing.from_csv(text)

    @classmethod
    def figures(cls, tables: Mapping[str, Any], last: int) -> dict[str, Figure]:
        """Success rates and lowest actions; success against evaluations. Not collective."""
        from fem_deepest.figures.comparison import evaluations, success  # Matplotlib; see Study

        table, trials = tables["table"], tables["trials"]
        return {
            "success": success(table, trials, cls.title),
            "evaluations": evaluations(table, trials, cls.title),
        }
