"""Stochastic gradients of a network's action: from a batch of the samples that is drawn for each step.

    A_B(u) = (1/B) sum_{k in B} Phi_T(y_k) + 1/2 <w, P w>,      E grad A_B = grad A.

The prior is exact in every batch, only the sum over the samples is drawn. Batches are simple random
samples without replacement, so that the covariance of the gradient is

    (K - B) / (B (K - 1)) Cov_k( grad Phi_T(y_k) ),

nothing for ``B = K``. They come from the counter-based generator, keyed by seed and step: a run goes on
with the same batches after a restart and on any number of ranks.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.prior import Prior
from fem_deepest.action.network.samples import gathered_data
from fem_deepest.data.rows import Rows
from fem_deepest.errors import InputError
from fem_deepest.noise.subsets import Indices, Subsets
from fem_deepest.spaces.grid import BLOCKS, FEW

Array = NDArray[np.float64]


class Minibatches:
    """``A_B`` of the batches of an action.

    Args:
        action: ``A``, with the strong constraint and clamped inputs.
        size: ``B``, from 1 to ``K``.
        seed: Seed of the batches, below 2^32.

    Attributes:
        action: ``A``.
        batch: ``A_B`` of the last batch asked for.
        subsets: The samples of each step's batch.

    Raises:
        InputError: The action has forcings, which belong to single samples; or a number is out of
            its range; or single samples of the data cannot be read.

    Every rank keeps all samples; or, of data that each reads its part of, reads those of a batch when it
    is drawn. Collective on the grid: construction and the methods.
    """

    def __init__(self, action: NetworkAction, size: int, seed: int) -> None:
        for name, value in (("R_f", action.model_precision), ("R_0", action.input_precision)):
            if np.isfinite(value):
                raise InputError(
                    f"batches of samples are for the strong constraint, but {name} = {value:g}: a "
                    f"forcing belongs to one sample and would rest in other batches; take {name} = inf"
                )
        action.require_whole_index("a batch of samples")
        self.action = action
        self.subsets = Subsets(seed, action.samples, size)
        self._inputs: NDArray | Rows
        self._targets: NDArray | Rows
        self._inputs, self._targets = action.rows or _all_rows(action)
        self.batch = NetworkAction(
            action.grid,
            action.network,
            action.loss,
            self._inputs[:size],
            self._targets[:size],
            strength=action.metric.strength,
            kappa=action.metric.kappa,
            ell=action.metric.ell,
            blocks=_blocks(size),
        )
        self._rows = self.lay_out()
        self._at = (-1, 0)

    def lay_out(self, lead: tuple[int, ...] = ()) -> list[NDArray]:
        """Make the tiles of :attr:`batch` views of new arrays, and return these for :meth:`gather`.

        Args:
            lead: Shape of the axis of networks side by side, see :class:`.Flow`.
        """
        local = self.batch.blocks.local
        edges = np.concatenate([[0], np.cumsum(self.batch.space.tiles)]).astype(int)
        found, tiles = [], []
        for whole in (self._inputs, self._targets):
            shape = (*lead, local.stop - local.start, *whole.shape[1:])
            # The rows of the samples, and in the tiles their columns; class numbers are numbers.
            rows = np.empty(shape, dtype=whole.dtype)
            columns = np.swapaxes(rows, -1, -2) if whole.ndim > 1 else rows
            tiles.append([columns[..., a:b] for a, b in pairwise(edges)])
            found.append(rows)
        self.batch.tiles.inputs, self.batch.tiles.targets = tiles
        return found

    def gather(self, samples: Indices, rows: list[NDArray]) -> None:
        """Fill the arrays of :meth:`lay_out` with these samples, (..., B)."""
        own = samples[..., self.batch.blocks.local]
        picked = self.action.rows and self.action.rows[0].samples.pick(own.reshape(-1))
        for i, (whole, target) in enumerate(zip((self._inputs, self._targets), rows, strict=True)):
            if isinstance(whole, Rows):
                assert picked is not None
                target[...] = whole.finish(picked[i]).reshape(target.shape)
            else:
                # The indices are right; checking them would take a copy.
                np.take(whole, own, axis=0, out=target, mode="clip")

    @property
    def metric(self) -> Prior:
        """Riesz map of the space."""
        return self.action.metric

    def create(self) -> PETSc.Vec:
        """Zero control."""
        return self.action.create()

    def at(self, step: int, number: int = 0) -> NetworkAction:
        """``A_B`` of the batch of a step, with all its derivatives; the next call changes it.

        Args:
            step: Number of the step, below 2^32.
            number: Number of the run among independent ones of the same seed, below 2^24.
        """
        if (step, number) != self._at:
            self.of(self.subsets(step, number))
            self._at = step, number
        return self.batch

    def of(self, samples: Indices) -> NetworkAction:
        """``A_B`` of these samples, (B,); the next call changes it."""
        self._at = (-1, 0)
        self.gather(samples, self._rows)
        return self.batch

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec, step: int, number: int = 0) -> float:
        """``g = dA_B/du`` of the batch of a step; returns ``A_B(u)``."""
        return self.at(step, number).gradient(u, g)


def _all_rows(action: NetworkAction) -> tuple[NDArray, NDArray]:
    """Inputs and targets of all ranks, as rows: the entries of a sample lie together. Collective."""
    inputs, targets = gathered_data(action)
    found = action.grid.data.allgather((inputs, np.moveaxis(targets, -1, 0)))
    x, y = (
        np.concatenate([np.ascontiguousarray(part) for part in parts])
        for parts in zip(*found, strict=True)
    )
    return x, y


def _blocks(size: int) -> int:
    """Blocks of at least :data:`FEW` samples: narrower ones would take longer than they save."""
    return next((n for n in (BLOCKS, BLOCKS // 2, 3, 2) if size >= FEW * n), 1)
