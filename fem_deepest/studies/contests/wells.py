"""The tilted double well as a contest: out of the higher well, over a barrier that is known."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fem_deepest.configuration.section import Section
from fem_deepest.studies.comparison import (
    MULTISTART,
    NOISE,
    PLAIN,
    ComparisonConfig,
    ComparisonSection,
    ComparisonStudy,
    Contest,
)
from fem_deepest.studies.kramers import check_length
from fem_deepest.studies.study import Count, Positive

COOLED, RESTARTED = "noise, cooled", "noise, restarted"


class WellsSection(ComparisonSection):
    """``[study]`` of this comparison."""

    name: Literal["compare_wells"] = Field(description="this study")


class TiltedSection(Section):
    """``[problem]``: ``A(u) = int_0^L 1/2 u'^2 + (u^2 - 1)^2/4 - b (u - u^3/3) dx``, natural ends."""

    L: Positive = Field(default=1.0, description="length, below pi")
    cells: Count = Field(default=16, description="cells of the mesh")
    tilt: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.2, description="`b`: the wells are -1, at `2bL/3`, and 1, at `-2bL/3`"
    )
    spread: Positive = Field(
        default=0.25, description="starts are `-1` plus so much of a draw of `N(0, C)`"
    )
    tolerance: Positive = Field(default=1e-6, description="dual norm of the gradient to reach")


class FlowSection(Section):
    """``[noise]``: the annealed gradient flow, in the metric of ``H1``."""

    theta: Positive = Field(default=0.04, description="temperature where it is constant")
    first: Positive = Field(default=0.2, description="first temperature where it is cooled")
    last: Positive = Field(default=0.01, description="last temperature where it is cooled")
    step: Positive = Field(default=0.1, description="step of the flow")
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.95, description="part of the budget with noise, the rest is descent"
    )
    cycle: Count = Field(
        default=200, description="steps with noise before a descent, where restarted"
    )


class WellsConfig(ComparisonConfig):
    """Configuration of :class:`WellsStudy`."""

    study: WellsSection
    problem: TiltedSection = TiltedSection()
    noise: FlowSection = FlowSection()


class WellsStudy(ComparisonStudy):
    """Starts around the higher well; success is the lower one.

    Plain descent cannot succeed, multistart does where a draw lies beyond the saddle, noise at the rate
    of :mod:`fem_deepest.studies.kramers`. There is no precision to anneal in this action: a factor before
    the wells leaves the start a minimum.
    """

    title = "Out of the higher well"
    Config: ClassVar[type[WellsConfig]] = WellsConfig
    config: WellsConfig

    def __init__(self, config: WellsConfig) -> None:
        super().__init__(config)
        check_length(config.problem.L)

    def names(self) -> tuple[str, ...]:
        """Names of the arms. Not collective."""
        return PLAIN, MULTISTART, NOISE, COOLED, RESTARTED

    def contest(self) -> Contest:
        """The contest. Not collective."""
        # All of annealed and sample: imported only where something is computed.
        from fem_deepest.studies.contests.wells_arms import Wells

        return Wells(self.config)
