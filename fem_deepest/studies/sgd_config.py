"""Configuration of the study of stochastic gradient descent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.section import Section
from fem_deepest.configuration.train import ActionSection
from fem_deepest.studies.samples import SmallNetworkSection
from fem_deepest.studies.study import Factor, Positive, StudyConfig, StudySection

Problem = Literal["quadratic", "network"]
Deviation = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Runs = Annotated[int, Field(ge=2, lt=2**24)]


class SgdStudySection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of steps ``n``."""

    name: Literal["sgd_strong"] = Field(description="this study")
    values: list[Factor] = Field(
        default=[16, 32, 64, 128, 256, 512, 1024], description="steps `n`, increasing"
    )
    problems: list[Problem] = Field(
        default=["quadratic", "network"], min_length=1, description="what is minimised"
    )
    nu: list[Annotated[float, Field(gt=0.0, lt=1.0)]] = Field(
        default=[0.5, 0.75], min_length=1, description="decays of the steps, `eta / n^nu`"
    )
    p: Literal[2, 4] = Field(default=2, description="of the error `(E |u_n - u*|^p)^{1/p}`")

    @model_validator(mode="after")
    def _different(self) -> SgdStudySection:
        for name, chosen in (("problems", self.problems), ("nu", self.nu)):
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"study.{name} = {chosen} names one twice; name each once")
        return self


class QuadraticSection(Section):
    """``[quadratic]``: see :mod:`fem_deepest.studies.sgd_quadratic`."""

    curvature: list[Positive] = Field(
        default=[1.0, 3.0], min_length=1, description="`mu`, eigenvalues of `A''`"
    )
    spread: Deviation = Field(default=0.5, description="`rho`, deviation of the curvature")
    noise: Positive = Field(default=1.0, description="`sigma`, deviation of the gradient")
    start: float = Field(default=1.0, allow_inf_nan=False, description="error of the start")
    eta: Positive = Field(default=0.7, description="`eta`")
    slow: Positive | None = Field(
        default=None,
        description="one more column: `nu = 1` with this `eta`, below `1/(2 mu)`: of order `eta mu`",
    )
    runs: Runs = Field(default=2000, description="independent runs")

    @model_validator(mode="after")
    def _slow(self) -> QuadraticSection:
        most = 0.5 / min(self.curvature)
        if self.slow is not None and not self.slow < most:
            raise ValueError(
                f"quadratic.slow = {self.slow:g} is no counter-example, its order is 1/2; take less "
                f"than {most:g}"
            )
        return self


class StrongPriorSection(ActionSection):
    """``[action]`` of the network: as for a training, with a prior that makes it convex."""

    strength: Positive = Field(default=2.0, alias="lambda", description="strength of the prior")


class SgdNetworkSection(Section):
    """``[sgd]``: the runs of the network, in units of ``lambda P^{-1} grad A``."""

    eta: Positive = Field(default=0.7, description="`eta`")
    batch: Factor = Field(default=8, description="samples of a step")
    samples: Factor = Field(default=64, description="samples, of a smooth law with noise")
    noise: Deviation = Field(default=0.2, description="deviation of the noise in the targets")
    runs: Runs = Field(default=500, description="independent runs")

    @model_validator(mode="after")
    def _random(self) -> SgdNetworkSection:
        if not self.batch < self.samples:
            raise ValueError(
                f"sgd.batch = {self.batch} must be less than sgd.samples = {self.samples}, or nothing "
                "is random"
            )
        return self


class SgdConfig(StudyConfig):
    """Configuration of :class:`fem_deepest.studies.sgd.SgdStrongStudy`."""

    study: SgdStudySection
    quadratic: QuadraticSection = QuadraticSection()
    network: SmallNetworkSection = SmallNetworkSection()
    action: StrongPriorSection = StrongPriorSection()
    sgd: SgdNetworkSection = SgdNetworkSection()

    @model_validator(mode="after")
    def _regression(self) -> SgdConfig:
        if self.action.loss not in (None, "least_squares"):
            raise ValueError("action.loss must be 'least_squares' in this study; remove it")
        return self
