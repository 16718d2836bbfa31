"""The configuration of the contest on the tilted double well."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fem_deepest.configuration.section import Section
from fem_deepest.studies.comparison import (
    ComparisonConfig,
    ComparisonSection,
)
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
