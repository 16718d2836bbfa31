"""The configuration of ``fem-deepest sample``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Count, Positive, Section, read, validate

Finite = Annotated[float, Field(allow_inf_nan=False)]
Even = Annotated[int, Field(ge=2, multiple_of=2)]


class BridgeSection(Section):
    """``[bridge]``: a path between clamped ends, density ``exp(-1/2 int x'^2 - int phi(x) dt)``."""

    name: Literal["double_well", "diffusion"] = Field(
        default="double_well",
        description="`phi = (x^2 - 1)^2`; or that of `dx = (x - x^3) dt + dW`, see `measure`",
    )
    measure: Literal["gibbs", "sde"] = Field(
        default="gibbs",
        description="diffusion: `exp(-A)`, `phi = f^2/2`; or the law of the equation, `(f^2 + f')/2`",
    )
    depth: Positive = Field(default=4.0, description="`T`")
    cells: Even = Field(default=64, description="depth cells")
    start: Finite = Field(default=-1.0, description="`x(0)`")
    end: Finite = Field(default=1.0, description="`x(T)`")
    rule: Literal["nodes", "exact"] = Field(
        default="nodes", description="how `phi` is integrated: error `h^2` of the law, or `h`"
    )

    @model_validator(mode="after")
    def _measure(self) -> BridgeSection:
        if self.measure == "sde" and self.name != "diffusion":
            raise ValueError(
                f'measure = "sde" needs a drift, but {self.name} is a potential; take name = '
                '"diffusion" or leave the measure out'
            )
        return self


class SamplerSection(Section):
    """``[sampler]``: the Markov kernel."""

    kernel: Literal["pcn", "infinity_mala", "spde_mala", "hmc", "random_walk"] = Field(
        default="hmc", description="which"
    )
    step: Positive = Field(default=0.2, description="first step size")
    theta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.5, description="implicitness of infinity_mala and spde_mala; 1/2 is the right one"
    )
    steps: Count = Field(default=3, description="rotations in an iteration of hmc")
    acceptance: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None, description="target of the tuning; default: that of the kernel"
    )


class ChainsSection(Section):
    """``[chains]``: how many, how long."""

    chains: Count = Field(default=16, description="chains")
    batch: Count = Field(default=8, description="chains side by side; a task of one process")
    relax: Count = Field(default=300, description="iterations of pCN from draws of the prior")
    warmup: Annotated[int, Field(ge=0)] = Field(
        default=300, description="iterations that tune the step; 0 keeps it"
    )
    draws: Annotated[int, Field(ge=8)] = Field(default=1000, description="draws kept of a chain")
    thin: Count = Field(default=1, description="iterations for each draw")
    paths: bool = Field(default=False, description="keep whole paths, not only numbers of them")


class ConvergenceSection(Section):
    """``[check]``: chains that break this have not converged."""

    r_hat: Annotated[float, Field(gt=1.0, allow_inf_nan=False)] = Field(
        default=1.01, description="largest R-hat"
    )
    ess: Positive = Field(default=400.0, description="least effective sample size, bulk and tail")


class SampleOutput(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")


class SampleConfig(Section):
    """A run of ``fem-deepest sample``; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    bridge: BridgeSection = BridgeSection()
    sampler: SamplerSection = SamplerSection()
    chains: ChainsSection = ChainsSection()
    check: ConvergenceSection = ConvergenceSection()
    output: SampleOutput = SampleOutput()


def load_sampling(
    source: str | Path | Mapping[str, Any] | SampleConfig, settings: Iterable[str] = ()
) -> SampleConfig:
    """Read the configuration of a sampling; see :func:`read` and :func:`validate`. Not collective."""
    return validate(SampleConfig, read(source, settings))
