"""The configuration of the contest of active contours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fem_deepest.configuration.section import Section
from fem_deepest.studies.comparison import (
    ComparisonConfig,
    ComparisonSection,
)
from fem_deepest.studies.study import Count, Positive


class ContoursSection(ComparisonSection):
    """``[study]`` of this comparison."""

    name: Literal["compare_contours"] = Field(description="this study")


class SegmentationSection(Section):
    """``[problem]``: an image and its energy."""

    image: Literal["discs", "variance", "mixture"] = Field(
        default="discs", description="see `image.name` of contours"
    )
    region: Literal["chan_vese", "gaussian", "mixture"] = Field(
        default="chan_vese", description="region energy"
    )
    nu: Positive = Field(default=0.003, description="price of a unit of length")
    cells: Annotated[int, Field(ge=4)] = Field(default=48, description="of the mesh along a side")
    radius: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        default=0.08, description="of the circles to start from, anywhere on the image"
    )
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        default=0.02,
        description="success: above a descent from the truth by so much of what an image without a "
        "contour has above it",
    )
    tolerance: Positive = Field(
        default=1e-5, description="part of the energy that a step of a descent must gain"
    )


class ShakenSection(Section):
    """``[noise]``: on the normal velocity."""

    strength: Positive = Field(default=0.12, description="standard deviation of `W(1)` at a point")
    length: Positive = Field(default=0.1, description="correlation length")
    first: Positive = Field(default=1e-2, description="first temperature")
    last: Positive = Field(default=1e-4, description="last temperature")
    steps: Count = Field(default=200, description="steps with noise, then it descends")


class ContoursConfig(ComparisonConfig):
    """Configuration of :class:`ContoursStudy`."""

    study: ContoursSection
    problem: SegmentationSection = SegmentationSection()
    noise: ShakenSection = ShakenSection()
