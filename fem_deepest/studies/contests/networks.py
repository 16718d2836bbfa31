"""Training small networks as a contest: how often is the lowest known action found?

    A(w) = (1/K) sum_k Phi_T(y_k(w)) + 1/2 <w, P w>

of a network with few neurons has minima that are much worse than others. All arms start at the same random
weights: one quasi-Newton descent, one after the other from new starts, up a ladder of model precisions
``R_f``, through an annealed gradient flow, both, and stochastic gradients. Apart from plain descent all of
them begin anew with other starts until the budget is used; each ends with the same quasi-Newton descent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.annealed.networks import NetworkLandscape
from fem_deepest.annealed.search import Plan
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig, Pairs
from fem_deepest.data import DataSet
from fem_deepest.errors import InputError
from fem_deepest.runs.model import Problem
from fem_deepest.runs.network import initial_parameters
from fem_deepest.runs.network_search import search_problem
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.comparison import (
    ANNEALING,
    MULTISTART,
    NOISE,
    NOISE_ANNEALING,
    PLAIN,
    SGD,
    Arm,
    ComparisonStudy,
    Numbers,
)
from fem_deepest.studies.contests.network_config import NetworkContestConfig, noise_plan
from fem_deepest.studies.contests.network_ways import ladder, stochastic
from fem_deepest.studies.methods import noisy, once, quasi_newton, restarted

Array = NDArray[np.float64]


class NetworkContest:
    """The contest of a configuration; a :class:`.Contest`.

    Args:
        config: The configuration.

    Attributes:
        name: The data.
        threshold: Action of a success.
        problem: Data and scalings.
        landscape: The action on blocks.
        arms: See :class:`.Contest`.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective.
    """

    def __init__(self, config: NetworkContestConfig) -> None:
        self.config = config
        self.problem = contest_problem(config)
        self.name = self.problem.train.name
        goal = config.problem
        self.threshold = goal.lowest * (1.0 + goal.within)
        self.landscape = NetworkLandscape(self._action(np.inf))
        self.arms: Mapping[str, Arm] = self._arms()

    def start(self, numbers: Numbers, turn: int) -> Array:
        """Random weights of seeds, (n, S), new ones in each round; no errors of inputs."""
        U = np.zeros((self.landscape.rows, numbers.size))
        action = self.landscape.action
        for j, number in enumerate(numbers):
            random = np.random.default_rng([self.config.seed, int(number), turn])
            u = np.zeros(self.landscape.rows)
            parameters = action.space.parameters(u)
            initial_parameters(action.network, parameters, self.problem.config, random)
            U[:, j] = u
        return U

    def _action(self, R_f: float) -> NetworkAction:
        """The action with that ``R_f``, of one process alone."""
        action = self.problem.config.action.model_copy(update={"R_f": R_f})
        settled = self.problem.config.model_copy(update={"action": action})
        rung = replace(self.problem, config=settled)
        return rung.action(Resolution(settled.network.cells), ProcessGrid.create(MPI.COMM_SELF))

    def _arms(self) -> dict[str, Arm]:
        config, start, threshold = self.config, self.start, self.threshold
        method, section = config.descent, config.ladder
        down, alone = (
            quasi_newton(self.landscape, tolerance, method.memory)
            for tolerance in (method.tolerance, method.single)
        )
        rungs = [
            NetworkLandscape(self._action(section.R_f0 * section.alpha**i))
            for i in range(section.rungs)
        ]

        def annealed(noise: Plan | None) -> Arm:
            way = ladder(
                rungs,
                down,
                evaluations=section.evaluations,
                tolerance=section.tolerance,
                memory=method.memory,
                noise=noise,
            )
            return restarted(start, way, threshold)

        noise = noise_plan(config.noise, config.seed)
        arms = {
            PLAIN: once(start, alone, threshold),
            MULTISTART: restarted(start, down, threshold),
            ANNEALING: annealed(None),
            NOISE: restarted(start, noisy(self.landscape, noise, down), threshold),
            NOISE_ANNEALING: annealed(noise_plan(config.rung_noise or config.noise, config.seed)),
        }
        if config.sgd is not None:
            batches = BatchDescent(**config.sgd.model_dump(), seed=config.seed)
            way = stochastic(self.landscape.action, batches, down)
            arms[SGD] = restarted(start, way, threshold)
        return arms


class NetworkContestStudy(ComparisonStudy):
    """Methods that train small networks, at an equal budget: see :mod:`.networks`."""

    title = "Lowest known action of a network"
    Config: ClassVar[type[NetworkContestConfig]] = NetworkContestConfig
    config: NetworkContestConfig

    def names(self) -> tuple[str, ...]:
        """See :class:`.ComparisonStudy`."""
        names = (PLAIN, MULTISTART, ANNEALING, NOISE, NOISE_ANNEALING)
        return names if self.config.sgd is None else (*names, SGD)

    def settings(self, arm: str) -> dict[str, Any]:
        """See :class:`.ComparisonStudy`; the tolerance of plain descent concerns no other arm."""
        settings = super().settings(arm)
        if arm != PLAIN:
            del settings["descent"]["single"]
        return settings

    def contest(self) -> NetworkContest:
        """See :class:`.ComparisonStudy`."""
        return NetworkContest(self.config)


def contest_problem(config: NetworkContestConfig) -> Problem:
    """Data of a contest with a training's configuration of the action. Not collective.

    Raises:
        InputError: What is wrong with the data or does not fit together.
    """
    section = config.data
    own = section.model_dump(exclude={"components", "first"})
    problem = search_problem(
        NetworkAnnealConfig(data=Pairs(**own), network=config.network, action=config.action)
    )
    train = problem.training_set
    if section.first is not None:
        if section.first > train.samples:
            raise InputError(
                f"data.first is {section.first}, but there are {train.samples} samples to learn from"
            )
        rows = slice(section.first)
        train = replace(train, inputs=train.inputs[rows], targets=train.targets[rows])
    if section.components is not None:
        train = _principal(train, section.components)
    return Problem.create(problem.config, train, None)


def _principal(data: DataSet, count: int) -> DataSet:
    """The first principal components as inputs, divided by the deviation of all of them together."""
    if count > min(data.inputs.shape):
        raise InputError(
            f"data.components is {count}, but {data.samples} samples of {data.features} inputs have "
            f"{min(data.inputs.shape)}"
        )
    centred = data.inputs - data.inputs.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    # The sign of a direction is free: its largest entry is positive.
    chosen = directions[:count]
    largest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=1)[:, None], axis=1)
    inputs = centred @ (chosen * np.sign(largest)).T
    names = tuple(f"component {i + 1}" for i in range(count))
    return replace(data, inputs=inputs / inputs.std(), columns=names)
