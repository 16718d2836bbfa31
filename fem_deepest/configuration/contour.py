"""The configuration of ``fem-deepest flow`` for active contours: one with a section ``[contour]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.flow import Finite, FlowOutput
from fem_deepest.configuration.noise import TemperatureSection
from fem_deepest.configuration.section import Count, Positive, Section, read, validate


class ContourSection(Section):
    """``[contour]``: the energy ``nu length + region energy``, and where the contour starts."""

    region: Literal["chan_vese", "gaussian", "mixture"] = Field(
        default="chan_vese",
        description="two means; two normal laws; or a mixture inside and a normal law outside",
    )
    nu: Positive = Field(description="price of a unit of length")
    components: Count = Field(default=2, description="normal laws inside (mixture)")
    eps: Positive | None = Field(
        default=None, description="width of the contour; default: one and a half cells"
    )
    centre: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="of the circle to start from; default: that of the image"
    )
    radius: Positive | None = Field(
        default=None, description="of the circle to start from; default: that of the image"
    )


class ImageSection(Section):
    """``[image]``: what is segmented; exactly one of the first two keys."""

    name: Literal["discs", "variance", "mixture"] | None = Field(
        default=None,
        description="two discs and a ring; equal means but different variances; dark and bright inside",
    )
    path: str | None = Field(
        default=None, description="PNG file, relative to the configuration; colours become grey"
    )
    truth: str | None = Field(
        default=None,
        description="PNG file with the objects in white, for Dice's coefficient (path)",
    )
    pixels: Annotated[int, Field(ge=8, le=4096)] = Field(
        default=64, description="along a side (name)"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of the grey values (name)")

    @model_validator(mode="after")
    def _one(self) -> ImageSection:
        if (self.name is None) == (self.path is None):
            given = "both name and path" if self.name else "neither name nor path"
            raise ValueError(f"got {given}, expected exactly one of them")
        if self.name is not None and self.truth is not None:
            raise ValueError("truth goes with path: that of a name is known; leave it out")
        return self


class ContourMeshSection(Section):
    """``[mesh]``: triangles; the image is stretched over the box around them."""

    path: str | None = Field(
        default=None,
        description="mesh in .msh or .xdmf, relative to the configuration; default: a rectangle of "
        "the shape of the image, 1 high",
    )
    cells: Annotated[int, Field(ge=2)] = Field(
        default=64, description="along the height of the rectangle"
    )


class NormalNoiseSection(Section):
    """``[noise]``: on the normal velocity, in the sense of Stratonovich."""

    covariance: Literal["matern", "constant", "white", "none"] = Field(
        default="matern",
        description="Whittle-Matern; the same for the whole contour; white is refused",
    )
    strength: Positive = Field(
        default=0.15, description="standard deviation of `W(1)` at a point, in the first step"
    )
    length: Positive = Field(default=0.1, description="correlation length (matern)")
    smoothness: Positive = Field(default=1.0, description="`nu` of the field (matern)")
    cooled: bool = Field(
        default=True, description="times `sqrt(theta / theta_0)`; false: always as strong"
    )


class ContourTimeSection(Section):
    """``[time]``: steps with noise, and the descent after them."""

    steps: Count = Field(default=200, description="number of steps with noise")
    dt: Positive | None = Field(
        default=None, description="length of a step; default: `eps^2 / (2 nu)`"
    )
    tolerance: Positive = Field(
        default=1e-5, description="descent: part of the energy that a step must gain"
    )
    descent: Count = Field(default=500, description="descent: most evaluations")


class ContourReplicasSection(Section):
    """``[replicas]``: contours side by side."""

    number: Count = Field(
        default=1, description="contours, each with noise of its own; the lowest one counts"
    )


class ContourConfig(Section):
    """A run of ``fem-deepest flow`` of contours; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    contour: ContourSection
    image: ImageSection
    mesh: ContourMeshSection = ContourMeshSection()
    noise: NormalNoiseSection = NormalNoiseSection()
    temperature: TemperatureSection = TemperatureSection()
    time: ContourTimeSection = ContourTimeSection()
    replicas: ContourReplicasSection = ContourReplicasSection()
    output: FlowOutput = FlowOutput()


def load_contour(
    source: str | Path | Mapping[str, Any] | ContourConfig, settings: Iterable[str] = ()
) -> ContourConfig:
    """Read the configuration of contours; see :func:`read` and :func:`validate`.

    The files it names are looked for beside it. Not collective.
    """
    values = read(source, settings)
    image = values.get("image")
    truth = image.get("truth") if isinstance(image, dict) else None
    if isinstance(source, str | Path) and isinstance(truth, str):
        values["image"]["truth"] = str(Path(source).resolve().parent / truth)
    return validate(ContourConfig, values)
