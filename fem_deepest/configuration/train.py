"""The configuration of ``fem-deepest train``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fem_deepest.configuration.data import Data
from fem_deepest.configuration.levels import depth_problem, index_problem, paired
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.noise import SearchSection
from fem_deepest.configuration.section import Count, Positive, Precision, Section, read, validate

_LONGEST_STEP = 1.0  # in depth, on the coarsest of the automatic levels


class ActionSection(Section):
    """``[action]``: what is minimised."""

    loss: Literal["cross_entropy", "least_squares"] | None = Field(
        default=None, description="`Phi_T`; default by the kind of the data"
    )
    strength: Positive = Field(default=1e-4, alias="lambda", description="strength of the prior")
    kappa: Positive = Field(
        default=1.0, description="inverse correlation length of the prior in depth"
    )
    ell: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0,
        description="smoothing of the prior along the index, correlated over `ell/kappa`",
    )
    R_m: Positive = Field(default=1.0, description="precision of the measurements (least squares)")
    R_f: Precision = Field(
        default=inf, description="precision of the model; `inf` is ordinary training"
    )
    R_0: Precision = Field(default=inf, description="precision of the inputs; `inf` clamps them")


class Solve(Section):
    """``[solve]``: nested iteration in depth and along the neuron index."""

    levels: Literal["auto"] | list[Count] = Field(
        default="auto",
        description="depth cells of the levels, ending with `cells`; auto: halved, steps at most 1",
    )
    neurons: list[Count | list[Count]] | None = Field(
        default=None,
        description="neurons (interval) or shapes (rectangle) of the last levels, ending with those of "
        "the network; default: all levels have these",
    )
    adapt: Literal["none", "move", "bisect"] = Field(
        default="none",
        description="depth meshes after the first level: as graded; all nodes moved to where the action "
        "of the level before errs; or its cells bisected there",
    )
    tolerance: Positive = Field(
        default=1e-3,
        description="gradient of the last level, dual norm relative to that at the random start, before "
        "any regression of the readout",
    )
    loosening: Annotated[float, Field(ge=1.0, le=100.0)] = Field(
        default=1.2,
        description="a coarser level stops at this multiple of the next one's tolerance",
    )
    method: Literal["lmvm", "sgd"] = Field(
        default="lmvm",
        description="on the levels: quasi-Newton, or stochastic gradient descent",
    )
    iterations: Count = Field(default=2000, description="most iterations of a level, for lmvm")
    memory: Count = Field(default=20, description="pairs the quasi-Newton method remembers")
    eta: Positive = Field(default=0.3, description="sgd: step `n` has the length `eta / n^nu`")
    nu: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.5, description="sgd: decay of the steps, from 0 to 1"
    )
    batch: Count = Field(default=32, description="sgd: samples of a step")
    epochs: Count = Field(
        default=50, description="sgd: most times that a level goes through the samples"
    )
    check: Count = Field(
        default=5, description="sgd: epochs between two tests of the whole gradient"
    )
    gradient: Literal["metric", "euclidean"] = Field(
        default="metric",
        description="sgd: `lambda P^{-1} grad A`, the same on every level, or the plain `grad A`",
    )
    polish: bool = Field(default=False, description="Newton to a stationary point afterwards")
    polish_tolerance: Positive = Field(default=1e-8, description="as `tolerance`, for polish")
    polish_iterations: Count = Field(default=50, description="most Newton steps")


def _grid(value: Any) -> Any:
    """Refuse what is no grid. `0x2` is a number to TOML, a grid of none to a user."""
    if not isinstance(value, str) or not re.fullmatch(r"auto|[1-9][0-9]*x[1-9][0-9]*", value):
        raise ValueError(
            f"got {value!r}, but it should be 'auto', or ranks in depth times ranks over the samples, as "
            "'2x4', at least one of each"
        )
    return value


class Parallel(Section):
    """``[parallel]``: how a training is dealt out over the ranks."""

    grid: Annotated[str, BeforeValidator(_grid)] = Field(
        default="auto",
        description="ranks in depth x ranks over the samples, as `2x4`; auto: by sizes, ranks and memory",
    )
    weights: Literal["auto", "whole", "sharded"] = Field(
        default="auto",
        description="whole: every rank has a copy, and results the same bits on any number of ranks; "
        "sharded: each has its part alone; auto: whole where they are few",
    )
    chunk: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="samples that go through a slab together, of sharded weights; 0: from measured costs",
    )


class Output(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")
    fields: bool = Field(default=True, description="write fields/ for ParaView")
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(
        default=5.0, description="time between checkpoints"
    )


class Config(Section):
    """A run; see the sections."""

    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="seed of the start and of the batches"
    )
    data: Data = Data()
    network: NetworkSection = NetworkSection()
    action: ActionSection = ActionSection()
    search: SearchSection = SearchSection()
    solve: Solve = Solve()
    parallel: Parallel = Parallel()
    output: Output = Output()

    @model_validator(mode="after")
    def _regression_without_noise(self) -> Config:
        if self.search.steps and self.network.start_readout == "regression":
            raise ValueError(
                "network.start_readout = 'regression' is no start of a search with noise; take 'zero', or "
                "search.steps = 0"
            )
        return self

    @model_validator(mode="after")
    def _levels_end_with_the_network(self) -> Config:
        network, neurons, problem = self.network, self.solve.neurons, None
        if self.solve.levels != "auto":
            problem = depth_problem(self.solve.levels, network.cells, neurons)
        if neurons is not None and problem is None:
            on_pixels, first = network.index == "rectangle", None
            if network.lift == "pad" or (network.lift is None and not on_pixels):
                first = "network.lift = 'pad'"
            elif network.readout == "observed":
                first = "network.readout = 'observed'"
            problem = index_problem(
                neurons,
                self.levels,
                index=network.index,
                last=(network.shape or self.pixels) if on_pixels else network.neurons,
                first_neurons=first,
            )
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _index_has_neighbours(self) -> Config:
        if self.action.ell > 0.0 and self.network.index == "points":
            raise ValueError(
                f"action.ell = {self.action.ell:g} smooths along the neuron index, but network.index = "
                "'points' has no neighbours; take ell = 0 or an interval, a rectangle or a mesh"
            )
        return self

    @property
    def depth_levels(self) -> list[int]:
        """Numbers of depth cells, coarse to fine."""
        if self.solve.levels != "auto":
            return list(self.solve.levels)
        levels, most = [self.network.cells], self.network.depth / _LONGEST_STEP
        while levels[0] % 2 == 0 and levels[0] > 2 and levels[0] // 2 >= most:
            levels.insert(0, levels[0] // 2)
        return levels

    @property
    def pixels(self) -> list[int] | None:
        """Shape of the inputs as an image or a function on a line, if they have one."""
        return self.data.shape or ([8, 8] if self.data.name == "digits" else None)

    @property
    def levels(self) -> list[tuple[int, tuple[int, ...]]]:
        """Depth cells and neurons of the levels, coarse to fine, see :func:`.paired`."""
        return paired(self.depth_levels, self.solve.neurons)


def load(source: str | Path | Mapping[str, Any] | Config, settings: Iterable[str] = ()) -> Config:
    """Read the configuration of a training.

    Args:
        source: TOML file, or a mapping of the same shape, or a configuration.
        settings: Overrides ``section.key=value``, the value in TOML syntax or a bare word.

    Raises:
        InputError: No such file, bad TOML, an unknown key (the nearest known one is named), or a
            value of the wrong type or range.

    Not collective.
    """
    return validate(Config, read(source, settings))
