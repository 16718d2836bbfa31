"""The configuration of the contest on Lorenz 96."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fem_deepest.configuration.section import Section
from fem_deepest.studies.comparison import (
    ComparisonConfig,
    ComparisonSection,
)
from fem_deepest.studies.study import Count, Positive

MIDWAY, FLOW = "multistart midway + annealing", "annealed flow midway + annealing"
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class LorenzSection(ComparisonSection):
    """``[study]`` of this comparison."""

    name: Literal["compare_lorenz96"] = Field(description="this study")


class PathsSection(Section):
    """``[problem]``: the action in the normalisation of varanneal, Simpson-Hermite cells."""

    path: str = Field(description="CSV file: the time and all states, observed or not")
    components: list[int] = Field(min_length=1, description="observed components, from 0")
    R_m: Positive = Field(default=4.0, description="precision of the measurements")
    states: Interval = Field(default=[-15.0, 15.0], description="bounds of the states")
    f: Interval = Field(default=[0.0, 20.0], description="bounds of the forcing")
    lowest: Positive = Field(description="lowest known action at the last precision")
    within: Positive = Field(default=0.01, description="relative: what counts as reached")


class PrecisionsSection(Section):
    """``[anneal]``: precisions ``R_f0 alpha^beta``."""

    R_f0: Positive = Field(default=4e-6, description="first precision")
    alpha: Annotated[float, Field(gt=1.0)] = Field(default=1.5, description="factor of a rung")
    last: Count = Field(default=70, description="`beta` of the last precision")
    midway: Count = Field(default=35, description="`beta` of the precision where noise is applied")
    skip: Count = Field(default=7, description="rungs that are climbed in one, if Newton can")
    deviations: Positive = Field(
        default=5.0,
        description="a climb is given up where the action is so many deviations of the measurement term "
        "above its mean at the truth: it cannot fall any more",
    )


class CostSection(Section):
    """``[cost]`` in gradients; see ``tests/benchmarks/newton_worth.py``."""

    curvature: Positive = Field(default=23.0, description="second derivatives of a path")
    system: Positive = Field(default=32.0, description="a Newton system, factorised and solved")


class HopsSection(Section):
    """``[noise]``: windows in which a path is drawn anew, and the flow."""

    width: Interval = Field(default=[0.2, 0.6], description="half-widths of windows in depth")
    breadth: Interval = Field(default=[2.0, 5.0], description="half-widths in components")
    length: Positive = Field(default=0.2, description="correlation length of the noise in depth")
    theta: Positive = Field(default=25.0, description="temperature: variance of the noise")
    start: Count = Field(default=80, description="gradients of the descent from a start")
    hop: Count = Field(default=30, description="gradients of the descent after a hop")
    hops: Count = Field(default=60, description="hops of a round, then the lowest path climbs")
    memory: Count = Field(default=6, description="pairs of the quasi-Newton descent")
    steps: Count = Field(default=1500, description="steps of the annealed flow")
    step: Positive = Field(default=0.5, description="step size of the annealed flow")
    first: Positive = Field(default=1.5e-3, description="first temperature of the flow")
    last: Positive = Field(default=1.5e-6, description="last temperature of the flow")


class LorenzConfig(ComparisonConfig):
    """Configuration of :class:`LorenzStudy`."""

    study: LorenzSection
    problem: PathsSection
    anneal: PrecisionsSection = PrecisionsSection()
    cost: CostSection = CostSection()
    noise: HopsSection = HopsSection()
