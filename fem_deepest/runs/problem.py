"""The problem of a training: its data, scaled, and the actions on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.configuration.train import Config
from fem_deepest.data import DataSet, Samples, Standardiser
from fem_deepest.data.rows import Rows
from fem_deepest.data.survey import survey
from fem_deepest.errors import InputError
from fem_deepest.network.loss import CrossEntropy, LeastSquares, Loss
from fem_deepest.network.network import Network
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.model import Model
from fem_deepest.runs.network import make_network
from fem_deepest.solve.adaptivity import PLACEMENTS
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.solve.schedule import Schedule
from fem_deepest.spaces import ProcessGrid, Resolution

Array = NDArray[np.float64]


def make_loss(config: Config, classification: bool) -> Loss:
    """The loss of a configuration; by default the one that fits the data."""
    name = config.action.loss or ("cross_entropy" if classification else "least_squares")
    if name == "cross_entropy" and not classification:
        raise InputError(
            "action.loss is 'cross_entropy', but the targets are numbers, not classes; take "
            "'least_squares' or data.kind = 'classification'"
        )
    return CrossEntropy() if name == "cross_entropy" else LeastSquares(config.action.R_m)


def make_schedule(config: Config) -> Schedule:
    """How far each level of a configuration is solved."""
    section = config.solve
    sgd = BatchDescent(
        eta=section.eta,
        nu=section.nu,
        batch=section.batch,
        epochs=section.epochs,
        check=section.check,
        seed=config.seed,
        riesz=section.gradient == "metric",
    )
    return Schedule(
        levels=[Resolution(*level) for level in config.levels],
        tolerance=section.tolerance,
        loosening=section.loosening,
        iterations=section.iterations,
        memory=section.memory,
        polish=section.polish,
        polish_tolerance=section.polish_tolerance,
        polish_iterations=section.polish_iterations,
        sgd=sgd if section.method == "sgd" else None,
        place=PLACEMENTS.get(section.adapt),
    )


@dataclass(frozen=True)
class Problem:
    """Training part of a data set, scaled, and the actions on it.

    Attributes:
        config: Configuration.
        train: Training part, unscaled.
        test: Test part, or none.
        inputs: Scaling of the inputs, fitted on the training part alone.
        targets: Scaling of the targets, likewise; identity for classes.
    """

    config: Config
    train: DataSet | Samples
    test: DataSet | Samples | None
    inputs: Standardiser
    targets: Standardiser

    @property
    def training_set(self) -> DataSet:
        """The training part in memory.

        Raises:
            InputError: Every rank reads its part of it.
        """
        return _in_memory(self.train)

    @property
    def test_set(self) -> DataSet | None:
        """The test part in memory, or none. As :attr:`training_set`."""
        return None if self.test is None else _in_memory(self.test)

    @classmethod
    def create(
        cls, config: Config, train: DataSet | Samples, test: DataSet | Samples | None
    ) -> Problem:
        """Fit the scalings. Collective on the ranks of the data, where each reads its part."""
        scale = config.data.scaled
        if isinstance(train, Samples):
            found = survey(train)
            if isinstance(test, Samples):
                survey(test)  # finds what is wrong with it before the training
            inputs = found.inputs if scale else Standardiser.identity(train.features)
            targets = (scale and found.targets) or Standardiser.identity(train.outputs)
            return cls(config, train, test, inputs, targets)
        inputs = Standardiser.fit(train.inputs) if scale else Standardiser.identity(train.features)
        if scale and not train.is_classification:
            targets = Standardiser.fit(train.targets)
        else:
            targets = Standardiser.identity(train.outputs)
        return cls(config, train, test, inputs, targets)

    def action(self, level: Resolution, grid: ProcessGrid) -> NetworkAction:
        """The action on a level.

        Raises:
            InputError: Data and network do not fit each other, or the network not into memory.

        Collective on the grid.
        """
        return self.action_of(self._network(level, grid), grid)

    def action_of(self, network: Network, grid: ProcessGrid) -> NetworkAction:
        """The action of a network. As :meth:`action`, which makes it."""
        return NetworkAction(grid, network, *self.samples(), **self.strengths())

    def samples(self) -> tuple[Loss, Array | Rows, NDArray | Rows]:
        """Loss, inputs and targets of an action, scaled."""
        data = self.train
        loss = make_loss(self.config, data.is_classification)
        targets: NDArray | Rows = data.targets
        if not data.is_classification:
            targets = self.targets.apply(targets)
        elif isinstance(loss, LeastSquares):
            indicators = np.eye(data.outputs)
            if isinstance(targets, Rows):
                targets = targets.map(lambda numbers: indicators[numbers])
            else:
                targets = indicators[targets]
        return loss, self.inputs.apply(data.inputs), targets

    def strengths(self) -> dict[str, Any]:
        """Numbers of an action: strength and lengths of the prior, precisions."""
        section = self.config.action
        return {
            "strength": section.strength,
            "kappa": section.kappa,
            "ell": section.ell,
            "model_precision": section.R_f,
            "input_precision": section.R_0,
        }

    def check(self, levels: Iterable[Resolution], grid: ProcessGrid) -> None:
        """Find now what would be wrong on a level later, however long the ones before it take.

        Raises:
            InputError: As of :meth:`action`.

        Collective on the grid.
        """
        for level in levels:
            self._network(level, grid)

    def _network(self, level: Resolution, grid: ProcessGrid) -> Network:
        network = self.network(level, grid)
        memory_estimate.require(network, self.config, self.train.samples, grid.comm)
        return network

    def network(self, level: Resolution, grid: ProcessGrid) -> Network:
        """The network on a level, however large its weights.

        Raises:
            InputError: Data and network do not fit each other, or the mesh of the index into memory.

        Collective on the grid.
        """
        memory_estimate.require_index(self.config, level, grid.comm)
        comm = grid.index if self.config.network.spread else None
        return make_network(self.config, self.train.features, self.train.outputs, level, comm=comm)

    def trained(self, action: NetworkAction, u: PETSc.Vec, level: Resolution) -> Model:
        """The network of a control as a model, all of it on every rank. Collective."""
        numbering = Numbering.of(action)
        if numbering is None:
            return self.model(action.network, np.array(action.space.share(u)))
        network = make_network(self.config, self.train.features, self.train.outputs, level)
        flat = numbering.gather(u)[: network.shapes.size]
        numbering.destroy()
        return self.model(network, flat)

    def model(self, network: Network, flat: Array) -> Model:
        """The network with these parameters as a model."""
        data = self.train
        return Model(network, flat, self.inputs, self.targets, data.classes, data.columns)


def _in_memory(data: DataSet | Samples) -> DataSet:
    if isinstance(data, Samples):
        raise InputError(
            f"all samples of {data.name} were asked for, of which each rank reads its part; set "
            "data.stream = false"
        )
    return data
