"""The configuration of ``fem-deepest train``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.levels import depth_problem, index_problem, paired
from fem_deepest.configuration.noise import SearchSection
from fem_deepest.configuration.section import Count, Positive, Precision, Section, read, validate

_LONGEST_STEP = 1.0  # in depth, on the coarsest of the automatic levels


DataName = Literal[
    "digits",
    "diabetes",
    "breast_cancer",
    "donut",
    "squares",
    "spiral",
    "peaks",
    "swiss_roll",
    "file",
]
_WITH_UNITS = ("diabetes", "breast_cancer", "file")  # columns that differ by orders of magnitude


class Data(Section):
    """``[data]``: what is learnt from."""

    name: DataName = Field(default="digits", description="data set; `file` reads `path`")
    path: str | None = Field(
        default=None, description="CSV or NPZ file, relative to the configuration"
    )
    kind: Literal["classification", "regression"] = Field(
        default="classification", description="what the targets of a file are"
    )
    target: str | int | list[str | int] | None = Field(
        default=None,
        description="target column(s) of a CSV file, by name or number from 1; default: last",
    )
    inputs: list[str | int] | None = Field(
        default=None, description="input columns; default: all others"
    )
    samples: Count = Field(default=1000, description="number of samples of a toy set")
    noise: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="noise of a toy set; default: its own"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of a toy set")
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

    @model_validator(mode="after")
    def _needs_path(self) -> Data:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self

    @property
    def scaled(self) -> bool:
        """Whether a training standardises the columns: as said, or as the data have units."""
        return self.name in _WITH_UNITS if self.standardise is None else self.standardise


class NetworkSection(Section):
    """``[network]``: the dynamics ``x' = -a x + sigma(W_h x + b)`` and its discretisation."""

    neurons: Count = Field(
        default=64,
        description="`N` of points or an interval; of a rectangle or mesh it follows from the nodes",
    )
    index: Literal["points", "interval", "rectangle", "mesh"] = Field(
        default="points",
        description="neuron index `S`: points (`W_h = w`), the interval (0,1), a rectangle, a mesh file",
    )
    element: Literal["P0", "P1", "P2"] | None = Field(
        default=None,
        description="`V_S` on an interval, rectangle or mesh; default: P0 on an interval, else P1",
    )
    mass: Literal["lumped", "consistent"] = Field(
        default="lumped", description="`M_S` of the integral `W_h = w M_S` and of the prior"
    )
    shape: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="rectangle: nodes (of P0 the cells) down and across; default: the pixels of the data",
    )
    extent: Annotated[list[Positive], Field(min_length=1, max_length=2)] | None = Field(
        default=None,
        description="length of the interval, height and width of the rectangle; default: 1",
    )
    mesh: str | None = Field(
        default=None, description="Gmsh or XDMF file of the index, relative to the configuration"
    )
    channels: Count = Field(
        default=1, description="fields over the index side by side: `N` is so many times the nodes"
    )
    coupling: Literal["dense", "antisymmetric", "low_rank", "convolution", "local", "elliptic"] = (
        Field(
            default="dense",
            description="`W_h`: kernel `w(t,s,s')`, or `w(t,s,s') - w(t,s',s) - gamma`, of low rank or "
            "`w(t,s-s')`; differential operators `sum_m w_m(t,s) D_m`, or these of "
            "`(kappa^2 - Laplace)^{-1} x`",
        )
    )
    damping: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0, description="antisymmetric: `gamma`"
    )
    rank: Count = Field(default=8, description="low_rank: rank of the kernel")
    reach: Positive = Field(
        default=0.25, description="convolution: distance of `s` and `s'` up to which `w` reaches"
    )
    operators: list[Literal["1", "grad", "laplace", "hessian"]] = Field(
        default=["1", "grad", "laplace"], description="local and elliptic: the `D_m`"
    )
    uniform: bool = Field(
        default=False, description="local and elliptic: `w_m(t)` does not depend on `s`"
    )
    screening: Positive = Field(default=1.0, description="elliptic: `kappa`")
    spread: bool = Field(
        default=False,
        description="deal out the neurons over the ranks, not the samples: an interval or rectangle of "
        "P1 with local or elliptic coupling, too large for one rank",
    )
    depth: Positive = Field(default=2.0, description="`T`")
    cells: Count = Field(default=16, description="depth cells (layers) of the finest level")
    grading: Positive = Field(default=1.0, description="nodes `t_i = T (i/n)^g`")
    depth_mesh: str | None = Field(
        default=None,
        description="Gmsh or XDMF file with the depth nodes in place of these, relative to the "
        "configuration; it has `cells` cells on `(0, depth)`, a coarser level every m-th node",
    )
    scheme: Literal["euler", "midpoint", "rk2", "rk4"] = Field(
        default="euler", description="depth scheme; `euler` is an ordinary residual network"
    )
    activation: Literal["tanh", "sigmoid", "softplus"] = Field(
        default="tanh", description="`sigma`"
    )
    sharpness: Positive = Field(default=10.0, description="`beta` of softplus, the smoothed ReLU")
    leak: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0, description="`a`"
    )
    lift: Literal["pad", "linear", "project"] | None = Field(
        default=None,
        description="`x(0)`: inputs padded with zeros, a trained linear map of them, or the projection "
        "of the function whose cell means they are; default: pad, project on a rectangle or mesh",
    )
    readout: Literal["linear", "observed", "project"] = Field(
        default="linear",
        description="output: trained linear functionals of `x(T)`, its first neurons, or its cell means",
    )
    start: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.5, description="start: one Gaussian matrix, entries of deviation start/sqrt(N)"
    )
    start_readout: Literal["zero", "regression"] = Field(
        default="zero",
        description="start of a linear readout: nothing, or the regression of the targets on the states "
        "of the random network (least squares only)",
    )


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
