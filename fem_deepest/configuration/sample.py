"""The configurations of ``fem-deepest sample``: a bridge, or the posterior of a network or of a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Count, Positive, Section, read, validate
from fem_deepest.errors import InputError

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


class PosteriorSampler(SamplerSection):
    """``[sampler]``: the Markov kernel, relative to a Gaussian about the mode."""

    kernel: Literal["pcn", "infinity_mala", "hmc", "random_walk"] = Field(
        default="hmc", description="which"
    )
    step: Positive = Field(default=0.05, description="first step size")
    steps: Count = Field(default=20, description="rotations in an iteration of hmc")


class ChainsSection(Section):
    """``[chains]``: how many, how long."""

    chains: Count = Field(default=16, description="chains")
    batch: Count = Field(default=8, description="chains side by side; a task of one process")
    relax: Annotated[int, Field(ge=0)] = Field(
        default=300, description="iterations of pCN from draws of the Gaussian"
    )
    warmup: Annotated[int, Field(ge=0)] = Field(
        default=300, description="iterations that tune the step; 0 keeps it"
    )
    draws: Annotated[int, Field(ge=8)] = Field(default=1000, description="draws kept of a chain")
    thin: Count = Field(default=1, description="iterations for each draw")


class BridgeChains(ChainsSection):
    """``[chains]`` of a bridge."""

    paths: bool = Field(default=False, description="keep whole paths, not only numbers of them")


class PosteriorChains(ChainsSection):
    """``[chains]`` of a posterior."""

    chains: Count = Field(default=8, description="chains")
    relax: Annotated[int, Field(ge=0)] = Field(
        default=200, description="iterations of pCN from draws of the Gaussian"
    )
    draws: Annotated[int, Field(ge=8)] = Field(default=300, description="draws kept of a chain")


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
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(
        default=5.0, description="time between checkpoints of a batch"
    )


class PosteriorSection(Section):
    """``[posterior]``: whose posterior; one of ``train``, ``anneal`` and ``run``."""

    train: str | None = Field(
        default=None, description="configuration of a network, relative to this one; solved first"
    )
    anneal: str | None = Field(
        default=None, description="configuration of a path, relative to this one; annealed first"
    )
    run: str | None = Field(
        default=None, description="run directory of `train` or `anneal` instead: start there"
    )
    settings: list[str] = Field(
        default=[], description="overrides `section.key=value` of `train` or `anneal`"
    )
    R_f: Positive | None = Field(
        default=None, description="precision of the model of a path; default: the last rung"
    )
    fresh: str | None = Field(
        default=None, description="file with samples to predict, instead of the test part"
    )
    temperature: Positive | None = Field(
        default=None, description="`T` of `exp(-K A/T)` of a network; default: 1, Bayes' theorem"
    )
    rank: Count | None = Field(
        default=None,
        description="directions of a network in which the data shape the Gaussian; default: 500",
    )

    @model_validator(mode="after")
    def _one(self) -> PosteriorSection:
        given = [key for key in ("train", "anneal", "run") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"got {' and '.join(given) or 'none'} of train, anneal and run; give one of them"
            )
        if self.run is not None and self.settings:
            raise ValueError("settings cannot change a run; give them with train or anneal")
        return self


class SampleConfig(Section):
    """A run of ``fem-deepest sample`` for a bridge; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    bridge: BridgeSection = BridgeSection()
    sampler: SamplerSection = SamplerSection()
    chains: BridgeChains = BridgeChains()
    check: ConvergenceSection = ConvergenceSection()
    output: SampleOutput = SampleOutput()


class PosteriorConfig(Section):
    """A run of ``fem-deepest sample`` for a posterior; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    posterior: PosteriorSection
    sampler: PosteriorSampler = PosteriorSampler()
    chains: PosteriorChains = PosteriorChains()
    check: ConvergenceSection = ConvergenceSection()
    output: SampleOutput = SampleOutput()


def load_sampling(
    source: str | Path | Mapping[str, Any] | SampleConfig | PosteriorConfig,
    settings: Iterable[str] = (),
) -> SampleConfig | PosteriorConfig:
    """Read the configuration of a sampling; one with a section ``[posterior]`` is of a posterior.

    See :func:`read` and :func:`validate`. The files of ``[posterior]`` are relative to the
    configuration, the run directory to the working directory. Not collective.

    Raises:
        InputError: What is wrong with it, or it is of a bridge and a posterior.
    """
    values = read(source, settings)
    if "posterior" not in values:
        return validate(SampleConfig, values)
    if "bridge" in values:
        raise InputError(
            "the configuration has [bridge] and [posterior], which are two measures; leave one out"
        )
    section = values["posterior"]
    if isinstance(source, str | Path) and isinstance(section, dict):
        folder = Path(source).resolve().parent
        for key in ("train", "anneal", "fresh"):
            if isinstance(section.get(key), str):
                section[key] = str(folder / section[key])
    if isinstance(section, dict) and isinstance(section.get("run"), str):
        section["run"] = str(Path(section["run"]).resolve())  # for `plot` from elsewhere
    return validate(PosteriorConfig, values)
