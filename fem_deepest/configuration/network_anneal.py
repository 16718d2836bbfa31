"""The configuration of ``fem-deepest anneal`` for networks: one with a section ``[network]``."""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.anneal import AnnealOutput
from fem_deepest.configuration.data import Data, DataName
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.noise import ShakeSection
from fem_deepest.configuration.section import Count, Positive, Precision, Section

PairsName = Literal["isometric", "published", DataName]


class Pairs(Data):
    """``[data]``: a network twin, or what ``train`` learns from."""

    name: PairsName = Field(  # type: ignore[assignment]
        default="isometric",
        description="a twin that keeps distances, the published one that forgets, or as of `train`",
    )
    samples: Count = Field(default=10, description="pairs of a twin, samples of a toy set")
    layers: Count = Field(default=20, description="layers of the generator `isometric`")
    fresh: Count = Field(default=1000, description="fresh pairs of a twin, to be predicted")
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="seed of a toy set, or of the weights of `isometric`"
    )


class NetworkActionSection(Section):
    """``[action]``: what is minimised; ``R_f`` is that of the rungs."""

    loss: Literal["cross_entropy", "least_squares"] | None = Field(
        default=None, description="`Phi_T`; default by the kind of the data"
    )
    strength: Positive = Field(default=1e-2, alias="lambda", description="strength of the prior")
    kappa: Positive = Field(
        default=1.0, description="inverse correlation length of the prior in depth"
    )
    R_m: Positive | None = Field(
        default=None, description="precision of the outputs; default: noise^-2 of a twin, else 1"
    )
    R_0: Precision = Field(default=inf, description="precision of the inputs; `inf` clamps them")


class NetworkAnneal(Section):
    """``[anneal]``: the ladder and the starts."""

    starts: Count = Field(default=16, description="random starts")
    R_f0: Positive = Field(default=1.0, description="first precision of the model")
    alpha: Annotated[float, Field(gt=1.0, allow_inf_nan=False)] = Field(
        default=10.0, description="factor of a rung: `R_f = R_f0 alpha^beta`"
    )
    rungs: Count = Field(default=7, description="number of precisions")
    decrease: Positive = Field(
        default=1e-5, description="a rung ends after two steps that win less, relative"
    )
    iterations: Count = Field(default=500, description="most steps of a start on a rung")
    batch: Count = Field(default=1, description="starts that go together; a task of one process")
    same: Positive = Field(
        default=1e-3, description="relative difference of actions on the same level"
    )


class NetworkAnnealConfig(Section):
    """A run of ``fem-deepest anneal`` over networks; see the sections."""

    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the starts")
    data: Pairs = Pairs()
    network: NetworkSection = NetworkSection()
    action: NetworkActionSection = NetworkActionSection()
    anneal: NetworkAnneal = NetworkAnneal()
    search: ShakeSection = ShakeSection()
    output: AnnealOutput = AnnealOutput()

    @model_validator(mode="after")
    def _noise_fits(self) -> NetworkAnnealConfig:
        self.search.fit(self.anneal.rungs)
        return self

    @model_validator(mode="after")
    def _starts_are_random(self) -> NetworkAnnealConfig:
        if self.network.start_readout != "zero":
            raise ValueError(
                "network.start_readout = 'regression' is for one start of a training, but here there are "
                "many, with errors of the model; take 'zero'"
            )
        return self
