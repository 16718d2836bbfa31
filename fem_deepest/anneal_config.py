"""The configuration of ``fem-deepest anneal``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.config import Count, Positive, Section, read, validate

NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]
Intervals = Annotated[list[Interval], Field(min_length=1)]


class Series(Section):
    """``[data]``: the time series."""

    name: Literal["twin", "file"] = Field(
        default="twin", description="`twin`: the dynamics with noise; `file` reads `path`"
    )
    path: str | None = Field(
        default=None, description="CSV file with a header, relative to the configuration"
    )
    time: str = Field(default="t", description="column with the depth (time)")
    components: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        default=None, description="components observed, numbers from 0; default: all"
    )
    times: Annotated[int, Field(ge=3)] = Field(default=161, description="times of a twin")
    interval: Positive = Field(default=0.025, description="time between two of them")
    noise: NotNegative = Field(default=0.5, description="standard deviation of the noise of a twin")
    parameters: list[Finite] | None = Field(
        default=None, description="true parameters of a twin; default: those of the system"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of a twin")

    @model_validator(mode="after")
    def _needs_path(self) -> Series:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self


class DynamicsSection(Section):
    """``[dynamics]``: ``x' = F(x, w; t)`` and its transcription."""

    name: Literal["lorenz96", "lorenz63", "pendulum"] = Field(
        default="lorenz96", description="the system"
    )
    states: Count | None = Field(default=None, description="`D` of lorenz96; default: 10")
    transcription: Literal["euler", "midpoint", "gauss2", "simpson_hermite"] = Field(
        default="simpson_hermite", description="cells of two nodes, or of three (the last two)"
    )
    refine: Count = Field(default=1, description="nodes for each interval of the data")
    varying: bool = Field(default=False, description="parameters P1 in depth instead of constant")


class PathActionSection(Section):
    """``[action]``: what is minimised."""

    normalisation: Literal["integral", "minaone", "varanneal"] = Field(
        default="integral", description="constants before the terms; the last two as published"
    )
    R_m: Positive | list[Positive] | None = Field(
        default=None, description="precision by component; default: noise^-2 of a twin, else 1"
    )
    prior: NotNegative = Field(
        default=0.0, alias="lambda", description="strength of the prior of the parameters"
    )
    reference: Finite = Field(default=0.0, description="mean of the prior")
    kappa: Positive = Field(
        default=1.0, description="inverse correlation length of varying parameters"
    )


class BoundsSection(Section):
    """``[bounds]``: random starts are uniform within them."""

    states: Interval | Intervals = Field(
        default=[-15.0, 15.0], description="of all states, or one interval for each"
    )
    parameters: Interval | Intervals = Field(
        default=[0.0, 20.0], description="of all parameters, or one interval for each"
    )

    @model_validator(mode="after")
    def _increase(self) -> BoundsSection:
        for name in ("states", "parameters"):
            value = getattr(self, name)
            for low, high in value if isinstance(value[0], list) else [value]:
                if not low < high:
                    raise ValueError(f"{name}: the interval [{low}, {high}] must increase")
        return self


class Anneal(Section):
    """``[anneal]``: the ladder and the paths."""

    paths: Count = Field(default=100, description="initial paths")
    R_f0: Positive = Field(default=0.01, description="first precision of the model")
    alpha: Annotated[float, Field(gt=1.0, allow_inf_nan=False)] = Field(
        default=2.0, description="factor of a rung: `R_f = R_f0 alpha^beta`"
    )
    rungs: Count = Field(default=30, description="number of precisions")
    adaptive: bool = Field(default=False, description="divide rungs where the predictor fails")
    predictor: bool = Field(default=True, description="start a rung along the tangent")
    tolerance: Positive = Field(
        default=1e-10, description="decrease that Newton's model may still promise, relative"
    )
    iterations: Count = Field(default=200, description="most Newton steps of a path on a rung")
    batch: Count = Field(default=25, description="paths that go together; a task of one process")
    same: Positive = Field(
        default=1e-4, description="relative difference of actions on the same level"
    )


class AnnealOutput(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")


class AnnealConfig(Section):
    """A run of ``fem-deepest anneal``; see the sections."""

    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the starts")
    data: Series = Series()
    dynamics: DynamicsSection = DynamicsSection()
    action: PathActionSection = PathActionSection()
    bounds: BoundsSection = BoundsSection()
    anneal: Anneal = Anneal()
    output: AnnealOutput = AnnealOutput()


def load_annealing(
    source: str | Path | Mapping[str, Any] | AnnealConfig, settings: Iterable[str] = ()
) -> AnnealConfig:
    """Read the configuration of an annealing; see :func:`fem_deepest.config.load`. Not collective."""
    return validate(AnnealConfig, read(source, settings))
