"""The configuration of ``fem-deepest anneal``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.noise import PathShakeSection
from fem_deepest.configuration.section import Count, Positive, Section, read, validate

NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]
EndName = Literal["natural", "soft", "background", "clamped"]
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
    noise: NotNegative | Annotated[list[NotNegative], Field(min_length=1)] = Field(
        default=0.5, description="standard deviation of the noise of a twin, of all or by component"
    )
    parameters: list[Finite] | None = Field(
        default=None, description="true parameters of a twin; default: those of the system"
    )
    start: list[Finite] | None = Field(
        default=None, description="where a twin starts; default: that of the system"
    )
    spin_up: NotNegative | None = Field(
        default=None, description="time of a twin before its first row; default: that of the system"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of a twin")

    @model_validator(mode="after")
    def _needs_path(self) -> Series:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self


class DynamicsSection(Section):
    """``[dynamics]``: ``x' = F(x, w; t)`` and its transcription."""

    name: Literal["lorenz96", "lorenz63", "pendulum", "coupling", "file"] = Field(
        default="lorenz96",
        description="the system; `coupling`: a layer of neurons; `file` is that of `path`",
    )
    path: str | None = Field(
        default=None, description="Python file with a system, relative to the configuration"
    )
    object: str = Field(
        default="system", description="its name in the file: a system, or its maker"
    )
    states: Count | None = Field(
        default=None, description="`D`, where it can be chosen; default: 10 of lorenz96, 3 neurons"
    )
    activation: Literal["tanh", "sigmoid", "softplus"] = Field(
        default="tanh", description="`sigma` of a coupling"
    )
    sharpness: Positive = Field(default=10.0, description="`beta` of softplus")
    leak: NotNegative = Field(default=0.0, description="`a` of a coupling")
    transcription: Literal["euler", "midpoint", "gauss2", "simpson_hermite"] = Field(
        default="simpson_hermite", description="cells of two nodes, or of three (the last two)"
    )
    refine: Count = Field(default=1, description="nodes for each interval of the data")
    cells: Count | None = Field(
        default=None, description="cells of equal length instead, wherever the data lie"
    )
    interval: Positive | None = Field(
        default=None, description="the same, by the largest length of a cell"
    )
    varying: bool = Field(default=False, description="parameters P1 in depth instead of constant")

    @model_validator(mode="after")
    def _fit(self) -> DynamicsSection:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        if (self.cells is not None) + (self.interval is not None) + (self.refine > 1) > 1:
            raise ValueError("give one of cells, interval and refine")
        return self


class PathActionSection(Section):
    """``[action]``: what is minimised."""

    form: Literal["state", "saddle", "forcing"] = Field(
        default="state", description="unknowns (x, w), (x, p, w) or (xi, w): the same minimisers"
    )
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


class EndsSection(Section):
    """``[ends]``: what is known of the path at its ends."""

    start: EndName = Field(default="natural", description="condition at the first depth")
    start_value: list[float | None] | None = Field(
        default=None, description="its value by state; `nan` leaves a clamped one free"
    )
    start_precision: Positive | list[Positive] | list[list[Finite]] | None = Field(
        default=None, description="number (soft), or list or matrix (background)"
    )
    end: EndName = Field(default="natural", description="condition at the last depth")
    end_value: list[float | None] | None = Field(default=None, description="as `start_value`")
    end_precision: Positive | list[Positive] | list[list[Finite]] | None = Field(
        default=None, description="as `start_precision`"
    )
    periodic: bool = Field(default=False, description="the path ends where it starts")


class BoundsSection(Section):
    """``[bounds]``: random starts are uniform within them, and the state form stays there."""

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
    exact: bool = Field(
        default=False, description="one more rung, `1/R_f = 0` (saddle and forcing form)"
    )
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
    ends: EndsSection = EndsSection()
    bounds: BoundsSection = BoundsSection()
    anneal: Anneal = Anneal()
    search: PathShakeSection = PathShakeSection()
    output: AnnealOutput = AnnealOutput()

    @model_validator(mode="after")
    def _noise_fits(self) -> AnnealConfig:
        self.search.fit(self.anneal.rungs)
        if self.search.rungs and self.action.form != "state":
            raise ValueError(
                f'search.rungs shakes paths in the state form, but action.form is "{self.action.form}"; '
                "take the state form or leave the rungs out"
            )
        return self


def load_annealing(
    source: str | Path | Mapping[str, Any] | AnnealConfig, settings: Iterable[str] = ()
) -> AnnealConfig:
    """Read the configuration of an annealing; see :func:`read` and :func:`validate`. Not collective."""
    values = read(source, settings)
    dynamics = values.get("dynamics")
    if isinstance(source, str | Path) and isinstance(dynamics, dict):
        path = dynamics.get("path")
        if isinstance(path, str):
            values["dynamics"] = dynamics | {"path": str(Path(source).resolve().parent / path)}
    return validate(AnnealConfig, values)
