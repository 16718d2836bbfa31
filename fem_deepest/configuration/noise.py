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
    step: Positive = Field(default=1e-3, description="length of a step")
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
