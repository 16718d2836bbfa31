"""Configuration of the study of multilevel Monte Carlo."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fem_deepest.configuration.section import Section
from fem_deepest.studies.heat_config import HeatSection
from fem_deepest.studies.heat_levels import Quantity
from fem_deepest.studies.study import Check, Count, Factor, Positive, StudyConfig, StudySection


class MultilevelSection(StudySection):
    """``[study]`` of this study; ``values`` are tolerances, decreasing."""

    name: Literal["multilevel"] = Field(description="this study")
    values: list[Positive] = Field(  # type: ignore[assignment]
        default=[0.015, 0.0075, 0.0038], description="root mean square errors, decreasing"
    )
    mode: Literal["mlmc", "exact"] = Field(
        default="mlmc", description="sampled, or the optimum by exact moments without a sample"
    )
    quantity: Quantity = Field(
        default="point",
        description="`u(T, 1/2)^2`, or `|u(T)|^2` (norm), whose expectation is sought",
    )

    @field_validator("values")
    @classmethod
    def _increasing(cls, values: list[Any]) -> list[Any]:
        if not values or values != sorted(set(values), reverse=True):
            raise ValueError(f"got {values}, expected tolerances that decrease, coarse to fine")
        return values


class RoughHeatSection(HeatSection):
    """``[problem]``: the stochastic heat equation with one regularity of the noise."""

    T: Positive = Field(default=0.1, description="end of the time")
    beta: Positive = Field(default=0.5, description="regularity of the noise; 0.5 is white")
    modes: Count = Field(default=64, description="modes of noise that is not white")


class LevelsSection(Section):
    """``[levels]``: cells ``N_0 2^l`` and steps ``n_0 4^l``."""

    cells: Factor = Field(default=4, description="`N_0`, even")
    steps: Count = Field(default=4, description="`n_0`")
    most: Factor = Field(default=6, description="finest level allowed")
    tested: Annotated[int, Field(ge=2)] = Field(
        default=4, description="finest level whose rates are measured beforehand"
    )
    samples: Factor = Field(default=2000, description="samples of each of these levels")
    initial: Factor = Field(
        default=2000, description="samples of level 0 before variances are known; others have fewer"
    )

    @model_validator(mode="after")
    def _has_a_middle(self) -> LevelsSection:
        if self.cells % 2:
            raise ValueError(
                f"levels.cells = {self.cells} has no node in the middle; take an even one"
            )
        return self


class MultilevelCheck(Check):
    """``[check]`` of this study."""

    tolerance: Positive = Field(default=0.3, description="how far a fitted order may be off")
    speed_up: Positive | None = Field(
        default=None, description="least gain over one level at the smallest tolerance"
    )


class MultilevelConfig(StudyConfig):
    """Configuration of :class:`MultilevelStudy`."""

    study: MultilevelSection
    problem: RoughHeatSection = RoughHeatSection()
    levels: LevelsSection = LevelsSection()
    check: MultilevelCheck = MultilevelCheck()
