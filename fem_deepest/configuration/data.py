"""``[data]`` of a training: what is learnt from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Count, Positive, Section

DataName = Literal[
    "digits",
    "diabetes",
    "breast_cancer",
    "donut",
    "squares",
    "spiral",
    "peaks",
    "swiss_roll",
    "teacher",
    "file",
]


_WITH_UNITS = ("diabetes", "breast_cancer", "file")  # columns that differ by orders of magnitude


class Data(Section):
    """``[data]``: what is learnt from."""

    name: DataName = Field(default="digits", description="data set; `file` reads `path`")
    path: str | None = Field(
        default=None, description="CSV, NPZ or HDF5 file, relative to the configuration"
    )
    kind: Literal["classification", "regression"] = Field(
        default="classification", description="what the targets of a file or a teacher are"
    )
    target: str | int | list[str | int] | None = Field(
        default=None,
        description="target column(s) of a CSV file, by name or number from 1; default: last; or the name "
        "of the targets in an HDF5 file",
    )
    inputs: list[str | int] | None = Field(
        default=None,
        description="input columns; default: all others; or the name of the inputs in an HDF5 file",
    )
    samples: Count = Field(default=1000, description="number of samples of a synthetic set")
    features: Count = Field(default=2, description="inputs of a teacher's set")
    outputs: Count = Field(default=2, description="classes or values of a teacher's set")
    noise: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="noise of a synthetic set; default: its own"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of a synthetic set")
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.2, description="part kept for testing, stratified by class"
    )
    split_seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the split")
    shape: Annotated[list[Count], Field(min_length=1, max_length=2)] | None = Field(
        default=None,
        description="the inputs are the pixels of an image of so many rows and columns, or the cell "
        "means of a function on a line; digits: [8, 8]",
    )
    standardise: bool | None = Field(
        default=None,
        description="scale inputs, and targets of a regression, to mean 0, deviation 1 on the training "
        "part; default: files, diabetes and breast_cancer only",
    )

    stream: Literal["auto"] | bool = Field(
        default="auto",
        description="true: each rank reads its own part, and again for every evaluation what it may not "
        "keep; the split is by sample numbers and not stratified; auto: from 256 MiB of data",
    )
    memory: Positive | None = Field(
        default=None,
        description="MiB of the data that a rank keeps if it reads its own part; default: an eighth of "
        "its share of the free memory",
    )

    @model_validator(mode="after")
    def _needs_path(self) -> Data:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self

    @property
    def scaled(self) -> bool:
        """Whether a training standardises the columns: as said, or as the data have units."""
        return self.name in _WITH_UNITS if self.standardise is None else self.standardise
