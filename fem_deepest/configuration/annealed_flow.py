"""The configuration of ``fem-deepest flow`` for an action: one with a section ``[action]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.flow import Finite
from fem_deepest.configuration.noise import TemperatureSection
from fem_deepest.configuration.section import Count, Positive, Section, read, validate

_KINDS = ("train", "anneal", "name")
_OWN = {
    "train": {"cells"},
    "anneal": {"R_f"},
    "name": {"cells", "size", "diffusion", "reaction", "tilt", "start"},
}


class FlowActionSection(Section):
    """``[action]``: what is lowered; exactly one of the first three keys."""

    train: str | None = Field(
        default=None,
        description="configuration of a training, relative to this one: the action of its network",
    )
    anneal: str | None = Field(
        default=None, description="configuration of an annealing: the action of its paths at `R_f`"
    )
    name: Literal["double_well"] | None = Field(
        default=None,
        description="`double_well`: `int diffusion/2 |grad u|^2 + reaction (u^2 - 1)^2/4 - tilt u`",
    )
    cells: Count | None = Field(
        default=None,
        description="depth cells (train), cells along a side (name); default: of the file, 64",
    )
    R_f: Positive | None = Field(
        default=None, description="precision of the model (anneal); default: the largest finite one"
    )
    diffusion: Positive = Field(default=0.1, description="see `name`")
    reaction: Positive = Field(default=1.0, description="see `name`")
    tilt: Finite = Field(default=0.0, description="see `name`; prefers one well to the other")
    start: Finite = Field(default=-1.0, description="constant from which a double well starts")
    size: Annotated[list[Positive], Field(min_length=1, max_length=2)] = Field(
        default=[1.0], description="sides of a double well: an interval or a rectangle"
    )

    @model_validator(mode="after")
    def _one(self) -> FlowActionSection:
        given = [key for key in _KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"got {' and '.join(given) or 'none of train, anneal, name'}, expected exactly one of "
                "train, anneal, name"
            )
        strange = sorted(self.model_fields_set - _OWN[given[0]] - set(_KINDS))
        if strange:
            raise ValueError(f"{strange[0]} does not go with {given[0]}; leave it out")
        return self


class StepSection(Section):
    """``[flow]``: ``du = -C grad A dtau + sqrt(2 theta) C^{1/2} dW`` and its steps."""

    step: Positive = Field(default=0.1, description="length of a step in `tau`")
    steps: Count = Field(default=1000, description="number of steps with noise")
    implicitness: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.5, description="of the prior part; 1/2 leaves its law as it is"
    )
    accept: Literal["always", "metropolis", "contour"] = Field(
        default="always",
        description="which moves: all; so that `exp(-A/theta)` is kept; or as stochastic active contours",
    )
    noise: Literal["prior", "white"] = Field(
        default="prior",
        description="covariance `C = P^{-1}` (on a rectangle of the metric squared), or white (in 1D)",
    )
    minibatch: Count | None = Field(
        default=None, description="samples of a gradient (train); default: all"
    )
    look: Count = Field(
        default=10, description="minibatches: steps between two looks at the whole action"
    )


class ReplicasSection(Section):
    """``[replicas]``: flows side by side."""

    number: Count = Field(default=1, description="replicas; each has a start and noise of its own")
    exchange: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="steps between exchanges of the temperatures, which then are constant, from "
        "`temperature.end` to `temperature.start`; 0: all replicas are cooled alike",
    )


class DescentSection(Section):
    """``[descent]``: from the best iterate of each replica to a stationary point."""

    tolerance: Positive = Field(
        default=1e-6, description="dual norm of the gradient to reach (paths: as their file says)"
    )
    iterations: Count = Field(default=2000, description="most quasi-Newton steps")
    newton: Annotated[int, Field(ge=0)] = Field(
        default=50, description="most Newton steps where those do not reach it"
    )


class AnnealedFlowOutput(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")
    fields: bool = Field(default=True, description="write fields/ for ParaView")
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(
        default=5.0, description="time between checkpoints"
    )


class AnnealedFlowConfig(Section):
    """A run of ``fem-deepest flow`` on an action; see the sections."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of the noise")
    action: FlowActionSection
    flow: StepSection = StepSection()
    temperature: TemperatureSection = TemperatureSection()
    replicas: ReplicasSection = ReplicasSection()
    descent: DescentSection = DescentSection()
    output: AnnealedFlowOutput = AnnealedFlowOutput()

    @model_validator(mode="after")
    def _fits(self) -> AnnealedFlowConfig:
        if self.flow.minibatch is not None and self.action.train is None:
            raise ValueError("flow.minibatch needs samples: it goes with action.train only")
        every = self.replicas.exchange
        if every and (self.replicas.number < 2 or self.flow.steps % every):
            raise ValueError(
                f"replicas.exchange = {every} needs two replicas or more and divides flow.steps; got "
                f"{self.replicas.number} and {self.flow.steps}"
            )
        if every and (self.flow.minibatch is not None or self.flow.noise != "prior"):
            raise ValueError(
                "replicas that exchange temperatures compare whole actions under the noise of the prior; "
                "leave out flow.minibatch and flow.noise"
            )
        return self


def load_annealed_flow(
    source: str | Path | Mapping[str, Any] | AnnealedFlowConfig, settings: Iterable[str] = ()
) -> AnnealedFlowConfig:
    """Read the configuration of a flow of an action; see :func:`read` and :func:`validate`.

    The files it names are looked for beside it. Not collective.
    """
    values = read(source, settings)
    action = values.get("action")
    if isinstance(source, str | Path) and isinstance(action, dict):
        folder = Path(source).resolve().parent
        for key in ("train", "anneal"):
            if isinstance(action.get(key), str):
                action[key] = str(folder / action[key])
    return validate(AnnealedFlowConfig, values)
