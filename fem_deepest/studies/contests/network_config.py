"""Configuration of the contests of networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fem_deepest.annealed.flow import Accept
from fem_deepest.annealed.schedule import Geometric
from fem_deepest.annealed.search import Plan
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.network_anneal import NetworkActionSection, Pairs
from fem_deepest.configuration.section import Section
from fem_deepest.studies.comparison import ComparisonConfig
from fem_deepest.studies.study import Count, Positive


class PairsSection(Pairs):
    """``[data]``: a network twin, or what ``train`` learns from."""

    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="part kept for testing, stratified by class"
    )
    components: Count | None = Field(
        default=None,
        description="principal components of the inputs that are kept, scaled by one number",
    )
    first: Count | None = Field(default=None, description="samples kept, from the first")


class GoalSection(Section):
    """``[problem]``: what a success is."""

    lowest: Positive = Field(description="lowest known action, from a search with other seeds")
    within: Positive = Field(default=0.01, description="success: relative distance from it")


class DescentSection(Section):
    """``[descent]``: the quasi-Newton method that all arms end with."""

    tolerance: Positive = Field(default=1e-2, description="dual norm of the gradient")
    single: Positive = Field(
        default=1e-3, description="of plain descent, which has all the budget for one descent"
    )
    memory: Count = Field(default=20, description="pairs of its memory")


class LadderSection(Section):
    """``[ladder]``: precision annealing."""

    R_f0: Positive = Field(default=1.0, description="first precision of the model")
    alpha: Annotated[float, Field(gt=1.0, allow_inf_nan=False)] = Field(
        default=10.0, description="factor of a rung"
    )
    rungs: Count = Field(default=4, description="number of precisions before the strong constraint")
    evaluations: Count = Field(default=50, description="most gradients of a rung")
    tolerance: Positive = Field(default=1e-2, description="dual norm of the gradient of a rung")


class NoiseSection(Section):
    """``[noise]``: the annealed gradient flow."""

    first: Positive = Field(description="first temperature")
    last: Positive = Field(description="last temperature")
    steps: Count = Field(description="steps with noise")
    step: Positive = Field(description="`k`")
    accept: Accept = Field(default="always", description="rule of acceptance")


class StochasticSection(Section):
    """``[sgd]``: steps ``eta / n^nu`` in the metric, with batches."""

    eta: Positive = Field(description="`eta`")
    nu: Annotated[float, Field(ge=0.0, le=1.0)] = Field(default=0.5, description="`nu`")
    batch: Count = Field(default=20, description="samples of a batch")
    epochs: Count = Field(default=100, description="times that the samples are gone through")
    check: Count = Field(default=5, description="epochs between looks at the whole action")


class NetworkContestConfig(ComparisonConfig):
    """A contest of networks; see the sections."""

    data: PairsSection = PairsSection()
    network: NetworkSection = NetworkSection(neurons=6)
    action: NetworkActionSection = NetworkActionSection()
    problem: GoalSection
    descent: DescentSection = DescentSection()
    ladder: LadderSection = LadderSection()
    noise: NoiseSection
    rung_noise: NoiseSection | None = Field(
        default=None, description="`[rung_noise]`: the flow on the first rung; default: `[noise]`"
    )
    sgd: StochasticSection | None = Field(
        default=None, description="`[sgd]`; no such arm without it"
    )


def noise_plan(section: NoiseSection, seed: int) -> Plan:
    """Numbers of the flow; it ends where it is, since its best iterate may be its start for long."""
    return Plan(
        Geometric(section.first, section.last, section.steps),
        section.steps,
        section.step,
        accept=section.accept,
        ends=("last",),
        seed=seed,
    )
