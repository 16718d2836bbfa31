"""Sections that all annealed flows share: how the noise is cooled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fem_deepest.configuration.section import Count, Positive, Section


class TemperatureSection(Section):
    """``[temperature]``: ``theta`` by steps."""

    schedule: Literal["constant", "geometric", "logarithmic", "acceptance"] = Field(
        default="geometric",
        description="constant; geometric; logarithmic; or cooled when enough moves were accepted",
    )
    start: Positive = Field(default=0.1, description="first temperature")
    end: Positive = Field(
        default=1e-3, description="last temperature (geometric, acceptance); below the first"
    )
    unit: Count = Field(
        default=1, description="logarithmic: `theta = start log 2 / log(2 + step/unit)`"
    )
    ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.9, description="factor from one temperature to the next (acceptance)"
    )
    accepted: Count = Field(
        default=10, description="accepted moves after which it is cooled (acceptance)"
    )
    most: Count = Field(default=100, description="most steps at one temperature (acceptance)")


class SearchSection(TemperatureSection):
    """``[search]``: noise on the coarsest depth mesh before the solve, see ``fem-deepest flow``."""

    steps: Annotated[int, Field(ge=0)] = Field(
        default=0, description="steps with noise before the solve; 0: none"
    )
    step: Positive = Field(
        default=0.1, description="length of a step in units of `action.lambda`: `C` has its inverse"
    )
    replicas: Count = Field(
        default=1, description="searches side by side, each from a start of its own"
    )
    minibatch: Count | None = Field(
        default=None, description="samples of a gradient with noise; default: all"
    )
    look: Count = Field(
        default=10, description="minibatches: steps between two looks at the whole action"
    )
    start: Positive = Field(default=1e-4, description="first temperature")
    end: Positive = Field(
        default=1e-6, description="last temperature (geometric, acceptance); below the first"
    )


class ShakeSection(TemperatureSection):
    """``[search]``: noise at chosen rungs of an annealing, "noise + precision annealing"."""

    rungs: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="rungs (from 0) after which each start is shaken; none: no noise"
    )
    rounds: Count = Field(
        default=1, description="times that it is shaken there; kept only where it falls lower"
    )
    steps: Count = Field(default=50, description="flow: steps with noise of a round")
    step: Positive = Field(default=0.1, description="flow: length of a step")
    start: Positive = Field(
        default=0.3,
        description="first temperature in units of `2 A/n`: the part of `A` by which noise lifts it",
    )
    end: Positive = Field(default=1e-2, description="last temperature, in the same units")

    def fit(self, rungs: int) -> None:
        """Refuse rungs that a ladder of so many does not have.

        Raises:
            ValueError: There is one.
        """
        last = max(self.rungs, default=0)
        if last >= rungs:
            raise ValueError(
                f"search.rungs has {last}, but the {rungs} rungs of the ladder are numbered from 0"
            )


Interval = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class PathShakeSection(ShakeSection):
    """``[search]`` of paths, which know another kind of noise."""

    noise: Literal["flow", "windows"] = Field(
        default="flow",
        description="the annealed gradient flow; or a path drawn anew in windows of depth and components",
    )
    width: Interval = Field(default=[0.2, 0.6], description="windows: half-widths in depth")
    breadth: Interval = Field(
        default=[2.0, 5.0], description="windows: half-widths in components, which stand on a ring"
    )
    length: Positive = Field(default=0.2, description="windows: correlation length of the noise")
    variance: Positive = Field(default=25.0, description="windows: variance of the noise")
    descent: Count = Field(
        default=30, description="windows: gradients of the descent after each round"
    )
