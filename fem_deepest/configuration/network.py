"""``[network]`` of a training: the dynamics and its discretisation in depth and index."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fem_deepest.configuration.section import Count, Positive, Section


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
        description="Gmsh file with the depth nodes in place of these, relative to the "
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
