"""The number of samples: how far a network trained on K of them is from one trained on very many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.section import Section, validate
from fem_deepest.configuration.train import ActionSection, Config
from fem_deepest.data import DataSet
from fem_deepest.runs.network import make_network
from fem_deepest.runs.problem import Problem
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.column import Errors
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import (
    Count,
    Factor,
    Positive,
    Study,
    StudyConfig,
    StudySection,
    StudySolve,
)
from fem_deepest.studies.table import Table
from fem_deepest.studies.training import train

Array = NDArray[np.float64]

INPUTS = 2
_REFERENCE, _FRESH = 2**20, 2**20 + 1  # numbers of draws that no repetition has


class SamplesSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of samples."""

    name: Literal["samples"] = Field(description="this study")
    repetitions: Annotated[int, Field(ge=2, lt=_REFERENCE)] = Field(
        default=8, description="independent draws of every number of samples"
    )
    reference: Factor = Field(
        default=16, description="samples of the reference, a multiple of the largest value"
    )
    fresh: Annotated[int, Field(ge=16)] = Field(
        default=1000, description="fresh inputs on which predictors are compared"
    )


class NoisySection(Section):
    """``[data]``: pairs of a smooth law with noise, see :func:`draw`."""

    noise: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.2, description="deviation of the noise in the targets"
    )


class SmallNetworkSection(NetworkSection):
    """``[network]``: as for a training, with few neurons."""

    neurons: Count = Field(default=3, description="`N`")
    cells: Count = Field(default=2, description="depth cells")
    scheme: Literal["euler", "midpoint", "rk2", "rk4"] = Field(
        default="rk2", description="depth scheme"
    )


class StrongActionSection(ActionSection):
    """``[action]``: as for a training, with a strong prior."""

    strength: Positive = Field(default=3e-2, alias="lambda", description="strength of the prior")


class SamplesConfig(StudyConfig):
    """Configuration of :class:`SamplesStudy`."""

    study: SamplesSection
    data: NoisySection = NoisySection()
    network: SmallNetworkSection = SmallNetworkSection()
    action: StrongActionSection = StrongActionSection()
    solve: StudySolve = StudySolve()

    @model_validator(mode="after")
    def _regression(self) -> SamplesConfig:
        if self.action.loss not in (None, "least_squares"):
            raise ValueError("action.loss must be 'least_squares' in this study; remove it")
        return self


class SamplesStudy(Study):
    """Errors of trained networks against one trained on many more samples of the same law.

    The action is a mean over the samples plus a prior that does not change with K: an M-estimator.
    At a non-degenerate minimiser both the minimum and the minimiser are asymptotically normal with
    deviation ``O(K^{-1/2})`` (A. W. van der Vaart, Asymptotic Statistics, 1998, theorem 5.23,
    doi:10.1017/CBO9780511802256), so

    * ``action``, ``|A_K - A|``: 1/2;
    * ``predictor``, the root mean square distance of the outputs on fresh inputs: 1/2.

    Each K is drawn ``repetitions`` times, independently of all others; errors are means over these
    with Student's 95 % interval. All searches start from the same weights. Few samples may lead to
    another minimiser, and then the first rows lie above the line. The reference with ``r`` times
    the samples has an error too, which adds ``1/(2 r)`` of the last one.
    """

    title = "Number of samples against very many of the same law"
    Config = SamplesConfig
    config: SamplesConfig
    columns = ("predictor", "action")

    def __init__(self, config: SamplesConfig) -> None:
        self.config = config
        self._most = config.study.values[-1] * config.study.reference
        # Refuses a network that cannot hold the inputs.
        settled = validate(Config, self.points()[0]["config"])
        make_network(settled, INPUTS, 1, Resolution(config.network.cells))

    def points(self) -> list[dict[str, Any]]:
        """One for each number of samples and repetition, the reference last."""
        draws = [
            (samples, repetition)
            for samples in self.config.study.values
            for repetition in range(self.config.study.repetitions)
        ]
        base = self.config.model_dump(exclude={"study", "check", "output", "data"}, by_alias=True)
        return [
            {
                "kind": "predictor",
                "config": base,
                "noise": self.config.data.noise,
                "samples": samples,
                "repetition": repetition,
                "fresh": self.config.study.fresh,
            }
            for samples, repetition in [*draws, (self._most, _REFERENCE)]
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        if parameters["repetition"] == _REFERENCE:
            return f"{parameters['samples']} samples, the reference"
        return f"{parameters['samples']} samples, draw {parameters['repetition'] + 1}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Action, and outputs on the fresh inputs. Collective."""
        config = Config.model_validate(parameters["config"])
        samples, noise = parameters["samples"], parameters["noise"]
        # Seeds that do not depend on which other values and repetitions there are.
        train_data = draw(samples, noise, [config.seed, samples, parameters["repetition"]])
        fresh = draw(parameters["fresh"], noise, [config.seed, 0, _FRESH])
        problem, grid = Problem.create(config, train_data, None), ProcessGrid.create(comm)
        trained = train(config, lambda level: problem.action(level, grid))
        model = problem.model(trained.network, trained.flat)
        return {**trained.values, "outputs": model.predict(fresh.inputs)}

    def table(self, points: list[Point]) -> Table:
        """Columns ``predictor`` and ``action`` with intervals; repetitions and gradients beside them."""
        repetitions, reference = self.config.study.repetitions, points[-1]
        shape = (len(self.config.study.values), repetitions)
        truth = reference.values["outputs"]
        apart = [p.values["outputs"] - truth for p in points[:-1]]
        predictor = np.sqrt([np.mean(np.sum(d**2, axis=1)) for d in apart]).reshape(shape)
        action = np.array([abs(p["action"] - reference["action"]) for p in points[:-1]])
        gradients = np.array([p["evaluations"] for p in points[:-1]]).reshape(shape)
        return Table(
            "samples K",
            np.array(self.config.study.values),
            {
                "predictor": Errors.sampled(predictor, 0.5),
                "action": Errors.sampled(action.reshape(shape), 0.5),
            },
            np.array([p.seconds for p in points[:-1]]).reshape(shape).sum(axis=1),
            {"repetitions": np.full(shape[0], repetitions), "gradients": gradients.mean(axis=1)},
        )


def draw(samples: int, noise: float, seed: list[int]) -> DataSet:
    """``y = tanh(z_1 + z_2) - z_2/2 + noise N(0, 1)`` with ``z`` uniform on ``(-2, 2)^2``.

    The target has a large linear part, so that the search leaves zero at once: of data that is
    symmetric about zero, such as the toy sets, few samples train a network and many stay at the
    saddle.
    """
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    z = random.uniform(-2.0, 2.0, (samples, INPUTS))
    y = np.tanh(z.sum(axis=1)) - 0.5 * z[:, 1] + noise * random.standard_normal(samples)
    return DataSet("law", z, y[:, None], None, ("z1", "z2"))
