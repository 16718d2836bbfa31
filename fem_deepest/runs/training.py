"""A training as it is dealt out over the ranks: the actions of its levels, and what came out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.action.dealt import DealtAction
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.data import DataSet, Samples
from fem_deepest.network.network import TILE, Network
from fem_deepest.performance.memory import bytes_of_rank
from fem_deepest.performance.traffic import total
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.auto_grid import planned
from fem_deepest.runs.layout import Layout, make_layout
from fem_deepest.runs.model import Model, Problem
from fem_deepest.spaces import ProcessGrid, Resolution

_PIECE = 2**14  # samples whose targets are read at once


class Training:
    """Actions, scores and model of a training on its ranks.

    Sharded weights of a level with fewer cells than there are slabs are on a grid of fewer slabs, and more
    ranks over the samples.

    Args:
        problem: Data and configuration.
        comm: All ranks.

    Attributes:
        layout: How the finest level is dealt out.
        grid: Its process grid.

    Raises:
        InputError: The layout that is asked for cannot be had.

    Collective on ``comm``: construction and every method.
    """

    def __init__(self, problem: Problem, comm: MPI.Intracomm) -> None:
        self.problem, self.comm, config = problem, comm, problem.config
        finest, alone = Resolution(*config.levels[-1]), ProcessGrid.create(comm)
        self.layout: Layout = make_layout(
            config, lambda: problem.network(finest, alone), problem.train.samples, comm
        )
        self._grids = dict[int, ProcessGrid]()
        if config.network.spread:
            self.grid = ProcessGrid.create(comm, index=self.layout.slabs)
        else:
            self.grid = self._in_slabs(self.layout.slabs)

    def action(self, level: Resolution) -> DealtAction:
        """The action on a level.

        Raises:
            InputError: Data and network do not fit each other, or the network not into memory.
        """
        problem, layout = self.problem, self.layout
        if not layout.sharded:
            return problem.action(level, self.grid)
        grid = self._grid(level)
        network = self._require(level)
        loss, inputs, targets = problem.samples()
        return SlabAction(
            grid, network, loss, inputs, targets, chunk=layout.chunk or None, **problem.strengths()
        )

    def check(self, levels: Iterable[Resolution]) -> None:
        """Find now what would be wrong on a level later. Raises as :meth:`action`."""
        for level in levels:
            if self.layout.sharded:
                self._require(level)
            else:
                self.problem.check([level], self.grid)

    def results(
        self, action: DealtAction, u: PETSc.Vec, level: Resolution
    ) -> tuple[dict[str, float], Model | None]:
        """What has come out.

        Returns:
            The action, and the scores of training and test part, ``train_accuracy`` or ``train_rmse``; and
            the network, on every rank, or none of sharded weights, which no rank has.
        """
        problem, model = self.problem, None
        metrics = {"action": action.value(u)}
        if not isinstance(action, SlabAction):
            model = problem.trained(action, u, level)
        for part, data in (("train", problem.train), ("test", problem.test)):
            if data is None:
                continue
            if isinstance(action, SlabAction):
                name, score = self._score(action, u, data)
            else:
                assert model is not None
                name, score = model.score(data)
            metrics[f"{part}_{name}"] = score
        return metrics, model

    def traffic(self, action: SlabAction, sent: Traffic) -> dict[str, int]:
        """Messages and bytes of a gradient, over all ranks, as counted and as the model has them.

        Args:
            action: The action.
            sent: What this rank has sent.
        """
        model = total(
            planned(action.network, self.problem.config, action.samples, action.grid, action.chunk)
        )
        return {
            "messages": self.comm.allreduce(sent.messages),
            "bytes": self.comm.allreduce(sent.bytes),
            "model_messages": model.messages,
            "model_bytes": model.bytes,
        }

    def _score(
        self, action: SlabAction, u: PETSc.Vec, data: DataSet | Samples
    ) -> tuple[str, float]:
        """What :meth:`.Model.score` gives, by a sweep of all ranks."""
        own, y = action.outputs(u, self.problem.inputs.apply(data.inputs))
        total = 0.0
        for low in range(0, len(own), _PIECE):
            some = slice(low, min(low + _PIECE, len(own)))
            seen, found = data.targets[own.start + some.start : own.start + some.stop], y[some]
            if data.is_classification:
                total += float(np.sum(found.argmax(axis=1) != seen))
            else:
                total += float(np.sum((self.problem.targets.undo(found) - seen) ** 2))
        total = self.comm.allreduce(total)
        if data.is_classification:
            return "accuracy", 1.0 - total / data.samples
        return "rmse", float(np.sqrt(total / (data.samples * data.outputs)))

    def _grid(self, level: Resolution) -> ProcessGrid:
        return self._in_slabs(fitting(level.cells, self.layout.slabs))

    def _in_slabs(self, slabs: int) -> ProcessGrid:
        if slabs not in self._grids:
            self._grids[slabs] = ProcessGrid.create(self.comm, depth=slabs)
        return self._grids[slabs]

    def _require(self, level: Resolution) -> Network:
        """The network of a level with sharded weights, if it fits."""
        grid, problem = self._grid(level), self.problem
        config, samples = problem.config, problem.train.samples
        network = problem.network(level, grid)
        dealt = planned(network, config, samples, grid, self.layout.chunk or TILE)
        memory_estimate.require_sharded(
            network, config, samples, self.comm, dealt.name, bytes_of_rank(dealt)
        )
        return network


def fitting(cells: int, slabs: int) -> int:
    """The most slabs of so many cells that divide the given number of slabs. Not collective."""
    return max(d for d in range(1, min(cells, slabs) + 1) if slabs % d == 0)
