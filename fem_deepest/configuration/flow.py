"""The configuration of ``fem-deepest flow``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Count, Positive, Section, read, validate

Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]

_AXES = {"interval": 1, "rectangle": 2, "box": 3}


class MeshSection(Section):
    """``[mesh]``: where the equation lives."""

    domain: Literal["interval", "rectangle", "box", "file"] = Field(
        default="rectangle", description="from the origin; or `file` reads `path`"
    )
    path: str | None = Field(
        default=None, description="mesh in .msh or .xdmf, relative to the configuration"
    )
    size: list[Positive] | None = Field(
        default=None, description="lengths of the sides; default: all 1"
    )
    cells: list[Count] | Count = Field(
        default=32, description="cells along a side, one number or one for each"
    )
    cell: Literal["simplex", "tensor"] = Field(
        default="simplex", description="triangles and tetrahedra, or quadrilaterals and hexahedra"
    )
    degree: Annotated[int, Field(ge=1, le=4)] = Field(default=1, description="of the elements")
    boundary: Literal["neumann", "dirichlet", "periodic"] = Field(
        default="neumann", description="zero flux, zero value, or a ring (interval only)"
    )

    @model_validator(mode="after")
    def _fits(self) -> MeshSection:
        if (self.domain == "file") != (self.path is not None):
            raise ValueError('path goes with domain = "file", and only with it')
        axes = _AXES.get(self.domain)
        for name in ("size", "cells"):
            value = getattr(self, name)
            if isinstance(value, list) and len(value) != axes:
                raise ValueError(
                    f"{name} has {len(value)} numbers, but the domain '{self.domain}' has "
                    f"{axes or 'none of its own'}; give one for each side"
                )
        if self.boundary == "periodic" and self.domain != "interval":
            raise ValueError(
                f"boundary = 'periodic' was given on '{self.domain}'; DOLFINx alone closes intervals "
                "only, take another boundary or domain"
            )
        return self

    @property
    def sides(self) -> tuple[list[float], list[int]]:
        """Lengths and numbers of cells of the sides."""
        axes = _AXES[self.domain]
        size = [1.0] * axes if self.size is None else list(self.size)
        return size, list(self.cells) if isinstance(self.cells, list) else [self.cells] * axes


class EquationSection(Section):
    """``[equation]``: ``du = -(A u + f(u)) dt + G(u) dW`` with ``A = -diffusion Laplace``."""

    name: Literal["heat", "allen_cahn", "file"] = Field(
        default="allen_cahn",
        description="`f = reaction u`; `f = reaction (u^3 - u)`; or Python in `path`",
    )
    path: str | None = Field(
        default=None,
        description="Python file with any of `f(u)`, `G(u)` in UFL and `initial(x)` in NumPy",
    )
    diffusion: Positive = Field(default=1.0, description="coefficient of `-Laplace`")
    reaction: NotNegative = Field(default=1.0, description="coefficient of `f`")
    G: Literal["additive", "linear"] = Field(
        default="additive", description="`G = 1`, or `G = u`; a file may give its own"
    )
    interpretation: Literal["ito", "stratonovich"] = Field(
        default="ito", description="of multiplicative noise"
    )
    discrete_density: bool = Field(
        default=False,
        description="correct by the variance that noise has on this mesh where it has none in the limit",
    )
    initial: Finite = Field(default=0.0, description="constant initial value; a file may give one")

    @model_validator(mode="after")
    def _needs_path(self) -> EquationSection:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self


class NoiseSection(Section):
    """``[noise]``: the ``Q``-Wiener process."""

    covariance: Literal["matern", "white", "power", "none"] = Field(
        default="matern",
        description="Whittle-Matern; white; or `q = strength^2 (s + lambda)^{-decay}` on the first "
        "eigenfunctions of `-Laplace`, `s` 0 (dirichlet) or 1",
    )
    strength: Positive = Field(
        default=0.1,
        description="standard deviation of `W(1)` at a point (matern), else a factor before `W`",
    )
    length: Positive = Field(default=0.1, description="correlation length (matern)")
    smoothness: Positive = Field(default=1.0, description="`nu` (matern)")
    decay: Positive = Field(default=1.0, description="exponent (power)")
    modes: Count = Field(default=64, description="number of them (power)")


class TimeSection(Section):
    """``[time]``: the scheme and its steps."""

    scheme: Literal[
        "euler_maruyama",
        "crank_nicolson",
        "imex",
        "milstein",
        "exponential",
        "tamed",
        "implicit",
    ] = Field(default="euler_maruyama", description="see the table of schemes in demos/README.md")
    T: Positive = Field(default=1.0, description="final time")
    steps: Count = Field(default=100, description="number of steps")


class FlowOutput(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    frames: Count = Field(default=50, description="states kept in fields/ after the first")
    figures: bool = Field(default=True, description="write figures/ with an animation")
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(
        default=5.0, description="time between checkpoints"
    )


class FlowConfig(Section):
    """A run of ``fem-deepest flow``; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    sample: Annotated[int, Field(ge=0, lt=2**24)] = Field(
        default=0, description="number of the path"
    )
    mesh: MeshSection = MeshSection()
    equation: EquationSection = EquationSection()
    noise: NoiseSection = NoiseSection()
    time: TimeSection = TimeSection()
    output: FlowOutput = FlowOutput()


def load_flow(
    source: str | Path | Mapping[str, Any] | FlowConfig, settings: Iterable[str] = ()
) -> FlowConfig:
    """Read the configuration of a flow; see :func:`read` and :func:`validate`. Not collective."""
    return validate(FlowConfig, read(source, settings))
