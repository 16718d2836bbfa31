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
        default=[], description="rungs (from 0) after which each path is shaken; none: no noise"
    )
    rounds: Count = Field(
        default=1, description="times that it is shaken there; kept only where it falls lower"
    )
    steps: Count = Field(default=50, description="steps with noise of a round")
    step: Positive = Field(default=0.1, description="length of a step")
    start: Positive = Field(
        default=0.3,
        description="first temperature in units of `2 A/n`: the part of `A` by which noise lifts it",
    )
    end: Positive = Field(default=1e-2, description="last temperature, in the same units")
