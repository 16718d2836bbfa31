"""Configuration of the studies of the stochastic heat equation."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Section
from fem_deepest.studies.study import Count, Factor, Positive, StudyConfig, StudySection

Refined = Literal["h", "k"]


class HeatStudySection(StudySection):
    """``[study]`` of these studies; ``values`` are numbers of cells ``N`` and of steps ``n``."""

    name: Literal["heat_strong", "heat_weak"] = Field(description="this study")
    mode: Literal["exact", "mc"] = Field(
        default="exact",
        description="against the exact solution by sums; or sampled, see [sampling]",
    )
    values: list[Factor] = Field(
        default=[8, 16, 32, 64, 128, 256, 512],
        description="cells `N` (refine h) and steps `n` (refine k), increasing",
    )
    beta: list[Positive] = Field(
        default=[0.5, 0.75, 1.5, 2.0],
        min_length=1,
        description="regularity of the noise, `q_j = j^{-2a}` with `beta = a + 1/2`; 0.5 is white",
    )
    refine: list[Refined] = Field(
        default=["h", "k"], min_length=1, description="the mesh, the time step, or both in turn"
    )

    @model_validator(mode="after")
    def _different(self) -> HeatStudySection:
        for name, chosen in (("beta", self.beta), ("refine", self.refine)):
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"study.{name} = {chosen} names one twice; name each once")
        return self


class HeatSection(Section):
    """``[problem]``: ``du = -A u dtau + dW``, ``A = -nu d^2/dx^2 + c`` on (0,1), ``u = 0`` at the ends."""

    T: Positive = Field(default=0.5, description="end of the time")
    nu: Positive = Field(default=1.0, description="diffusion")
    c: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0, description="reaction"
    )


class SamplingSection(Section):
    """``[sampling]``: fully discrete solutions, each against the next finer one of the same path."""

    samples: Factor = Field(default=2000, description="number of samples")
    batch: Factor = Field(default=1000, description="samples that are computed and kept together")
    cells: Factor = Field(default=64, description="cells where the step is refined")
    steps: Count = Field(default=1024, description="steps where the mesh is refined")
    modes: Count = Field(default=64, description="modes of noise that is not white")


class HeatConfig(StudyConfig):
    """Configuration of :class:`HeatStrongStudy` and :class:`HeatWeakStudy`."""

    study: HeatStudySection
    problem: HeatSection = HeatSection()
    sampling: SamplingSection = SamplingSection()

    @model_validator(mode="after")
    def _nested(self) -> HeatConfig:
        values = self.study.values
        if self.study.mode == "mc" and any(b % a for a, b in pairwise(values)):
            raise ValueError(
                f"study.values = {values}; sampled meshes and steps must be nested, let each be a "
                "multiple of the one before"
            )
        return self
