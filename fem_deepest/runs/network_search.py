"""The search of ``fem-deepest anneal`` over networks: random starts up a ladder of ``R_f``.

The unknowns are the weights and the states of all samples. A start has weights of its own, and the
states that follow from them without model error; the first rung, where the model hardly counts,
moves these to the data. Every rung starts from the end of the one before, and ``[search]`` shakes it
there first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network.bijection import to_states
from fem_deepest.action.network.states import StateAction
from fem_deepest.configuration.data import Data
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.train import ActionSection, Config
from fem_deepest.data import DataSet
from fem_deepest.data.twin import NOISE, isometric, published
from fem_deepest.network.loss import LeastSquares
from fem_deepest.runs.model import Model, Problem
from fem_deepest.runs.network import initial_parameters
from fem_deepest.runs.network_rung import KINDS, Rung
from fem_deepest.runs.network_shake import NetworkShake
from fem_deepest.runs.train import load_data
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.spaces import ProcessGrid, Resolution

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

_TWINS = ("isometric", "published")


@dataclass(frozen=True)
class NetworkSearch:
    """A configuration made real: a :class:`fem_deepest.solve.annealing.search.Search`.

    Attributes:
        config: The configuration.
        problem: Data with their scalings; its configuration is that of a training.
        ladder: The precisions.
        first: The action of the first rung.
        shake: The noise after chosen rungs.
    """

    config: NetworkAnnealConfig
    problem: Problem
    ladder: Ladder
    first: StateAction
    shake: NetworkShake
    floor = 0.0
    kinds = KINDS

    @classmethod
    def create(cls, config: NetworkAnnealConfig) -> NetworkSearch:
        """Read or make the data and set up the action.

        Raises:
            InputError: What is wrong with the data or does not fit together.
        """
        section, shake = config.anneal, NetworkShake(config.search, config.seed)
        ladder = Ladder(section.R_f0, section.alpha, section.rungs)
        problem = search_problem(config)
        return cls(config, problem, ladder, state_action(problem, section.R_f0), shake)

    @property
    def title(self) -> str:
        """See :class:`Search`."""
        network, train = self.first.network, self.problem.train
        return (
            f"{train.name}: {train.samples} samples, {train.features} inputs, {train.outputs} outputs; "
            f"{network.index.neurons} neurons, {network.depth.cells} depth cells "
            f"({network.scheme.name}), {network.shapes.size} parameters; {self.starts} starts of "
            f"{self.first.space.local_size} unknowns, {self.ladder.rungs} precisions"
        )

    @property
    def precisions(self) -> Array:
        """See :class:`Search`."""
        return self.ladder.precisions

    @property
    def starts(self) -> int:
        """See :class:`Search`."""
        return self.config.anneal.starts

    @property
    def batch(self) -> int:
        """See :class:`Search`."""
        return self.config.anneal.batch

    @property
    def cells(self) -> int:
        """See :class:`Search`."""
        return self.first.network.depth.cells

    @property
    def scale(self) -> float:
        """See :class:`Search`."""
        return self.problem.config.action.R_m

    @property
    def expected(self) -> tuple[float, float] | None:
        """Mean and deviation of ``(1/2K) chi^2``: squares of all outputs, and of inputs if soft."""
        if not isinstance(self.first.loss, LeastSquares):
            return None
        each = self.first.network.outputs
        each += self.first.network.index.neurons if self.first.soft else 0
        return 0.5 * each, float(np.sqrt(0.5 * each / self.first.samples))

    @property
    def files(self) -> tuple[str, ...]:
        """See :class:`Search`."""
        return "weights.csv", "lift.csv", "readout.csv", "fresh.csv"

    def checksum(self) -> int:
        """See :class:`Search`."""
        train = self.problem.training_set
        return zlib.crc32(train.inputs.tobytes() + train.targets.tobytes())

    def begin(self, numbers: Numbers) -> Batch:
        """See :class:`Search`."""
        starts = []
        for number in numbers:
            v = self.first.forcing.create()
            parameters = self.first.forcing.space.parameters(v.array_w)
            random = np.random.default_rng([self.config.seed, int(number)])
            initial_parameters(self.first.network, parameters, self.problem.config, random)
            u = to_states(self.first, v)
            starts.append(u.array.copy())
            for vec in (u, v):
                vec.destroy()
        return Batch(numbers, np.array(starts))

    def climb(self, batch: Batch, asked: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """See :class:`Search`."""
        while batch.rung < self.ladder.rungs:
            action = state_action(self.problem, float(self.precisions[batch.rung]))
            rung = Rung(action, self.config.anneal, asked)
            ends = self.shake(rung, rung.descend(batch.u), batch.rung, batch.numbers)
            batch.finish(*ends)
            yield batch

    def present(self, u: Array) -> LowestNetwork:
        """See :class:`Search`."""
        size = self.first.space.parameter_size
        return LowestNetwork(self.problem.model(self.first.network, u[:size].copy()), self.problem)


@dataclass(frozen=True, eq=False)
class LowestNetwork:
    """A network as the user wants to see it.

    Attributes:
        model: The network with its scalings.
        problem: What it has learnt from, and what it has not seen.
    """

    model: Model
    problem: Problem

    @property
    def metrics(self) -> dict[str, float]:
        """Scores on training and fresh samples, and of the best constant on the fresh ones."""
        train, fresh = self.problem.training_set, self.problem.test_set
        name, score = self.model.score(train)
        metrics = {f"train_{name}": score}
        if fresh is not None:
            metrics[f"fresh_{name}"] = self.model.score(fresh)[1]
            if train.is_classification:
                most = np.bincount(train.targets.astype(np.int64)).argmax()
                metrics["constant_accuracy"] = float(np.mean(fresh.targets == most))
            else:
                error = fresh.targets - train.targets.mean(axis=0)
                metrics["constant_rmse"] = float(np.sqrt(np.mean(error**2)))
        return metrics

    @property
    def tables(self) -> dict[str, tuple[Sequence[str], Array]]:
        """``weights.csv`` (``[w | b]`` by depth), ``lift.csv``, ``readout.csv``, ``fresh.csv``."""
        network, parameters = self.model.network, self.model.parameters
        size = network.index.neurons
        t = network.depth.nodes
        names = [f"w{i}_{j}" if j < size else f"b{i}" for i in range(size) for j in range(size + 1)]
        tables: dict[str, tuple[Sequence[str], Array]] = {
            "weights.csv": (
                ["t", *names],
                np.column_stack([t, parameters.theta.reshape(t.size, -1)]),
            )
        }
        for name, matrix in (("lift", parameters.lift), ("readout", parameters.readout)):
            if matrix.size:
                columns = [*(f"w{j}" for j in range(matrix.shape[1] - 1)), "b"]
                tables[f"{name}.csv"] = (columns, matrix)
        fresh = self.problem.test_set
        if fresh is not None:
            values = self.model.predict(fresh.inputs)
            known = np.asarray(fresh.targets, dtype=np.float64).reshape(len(values), -1)
            head = [f"target{j}" for j in range(known.shape[1])]
            head += [f"predicted{j}" for j in range(values.shape[1])]
            tables["fresh.csv"] = (head, np.column_stack([known, values]))
        return tables


def search_problem(config: NetworkAnnealConfig) -> Problem:
    """The data of a configuration, with a training's configuration of the action.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective.
    """
    section, action = config.data, config.action
    known = NOISE**-2 if section.name in _TWINS else 1.0
    values = action.model_dump(by_alias=True) | {"R_m": known if action.R_m is None else action.R_m}
    data = Data(standardise=False)
    if section.name not in _TWINS:
        own = section.model_dump(by_alias=True)
        data = Data(**{key: value for key, value in own.items() if key in Data.model_fields})
    settled = Config(
        seed=config.seed, data=data, network=config.network, action=ActionSection(**values)
    )
    if section.name in _TWINS:
        return Problem.create(settled, *_twin(config))
    return Problem.create(settled, *load_data(settled))


def _twin(config: NetworkAnnealConfig) -> tuple[DataSet, DataSet]:
    """Noisy pairs of a twin, and fresh ones with the outputs without noise."""
    section = config.data
    if section.name == "published":
        pairs, fresh = published(section.samples), published(section.fresh, "validation")
    else:
        pairs = isometric(section.samples, section.layers, seed=section.seed)
        fresh = isometric(section.fresh, section.layers, "validation", seed=section.seed)
    return (
        DataSet(section.name, pairs.inputs, pairs.outputs),
        DataSet(section.name, fresh.inputs, fresh.clean),
    )


def state_action(problem: Problem, R_f: float) -> StateAction:
    """The action with that ``R_f`` in the state form, of one process alone. Not collective."""
    action = problem.config.action.model_copy(update={"R_f": R_f})
    rung = replace(problem, config=problem.config.model_copy(update={"action": action}))
    return StateAction(
        rung.action(Resolution(problem.config.network.cells), ProcessGrid.create(MPI.COMM_SELF))
    )
