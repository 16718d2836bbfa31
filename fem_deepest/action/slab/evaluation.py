"""Sums over the samples of a batch on a grid of slabs, with derivatives in parameters and forcings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.ends import Ends
from fem_deepest.action.slab.batch import Batch
from fem_deepest.action.slab.gathers import Gathers
from fem_deepest.action.slab.pipeline import Pipeline
from fem_deepest.action.slab.reductions import Reductions
from fem_deepest.action.slab.rows import Rows
from fem_deepest.action.slab.schedule import in_flight
from fem_deepest.action.slab.states import Chunks
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.action.slab.work import Forcing, Gradient, Outputs, SecondVariation
from fem_deepest.spaces import Parameters
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]


class Evaluation:
    """The sums of a batch.

    Args:
        ends: Gives the network, the loss and the precisions.
        slabs: How it is dealt out.
        batch: The samples.
        traffic: Counts what is sent.

    Parameters are this rank's part. ``forcing(chunk)`` gives ``xi_0`` (N, k) and ``xi`` (cells, N, k) of
    the slab, or arrays without entries. Collective on the grid: every method.
    """

    def __init__(self, ends: Ends, slabs: Slabs, batch: Batch, traffic: Traffic) -> None:
        self._ends, self._slabs, self._batch, self._traffic = ends, slabs, batch, traffic
        network, shapes = ends.network, ends.network.shapes
        self._chunks = Chunks(network, slabs, batch.widths)
        self._pipeline = Pipeline(slabs, network.index.neurons, batch.widths, traffic)
        self._theta = Gathers(network, slabs, traffic)
        self._d_theta: Gathers | None = None
        self._reductions: Reductions | None = None
        self._readout = Rows(slabs, shapes.readout if slabs.last else (0, 1), traffic)
        self._lift = Rows(slabs, shapes.lift if slabs.first else (0, 1), traffic)

    @property
    def failure(self) -> str:
        """What failed on this rank in the last evaluation, or nothing. Not collective."""
        return self._pipeline.failure

    def value(self, u: Parameters, forcing: Forcing) -> Array:
        """What this rank adds to loss, score, model error and input error."""
        self._open(u, returns=False)
        work = Gradient(self._ends, self._batch, self._chunks, self._theta, self._whole(u), forcing)
        return self._run(work, None)

    def outputs(self, u: Parameters) -> dict[int, Array]:
        """Outputs (outputs, k) of this rank's chunks, in the last slab; none elsewhere."""
        self._open(u, returns=False)
        whole = self._whole(u)
        work = Outputs(self._ends, self._batch, self._chunks, self._theta, whole, no_forcing)
        self._run(work, None)
        return work.outputs

    def gradient(
        self, u: Parameters, forcing: Forcing, out: Parameters, out_forcing: Forcing
    ) -> Array:
        """As :meth:`value`; writes the gradient."""
        self._open(u, returns=True)
        whole = self._whole(u)
        work = Gradient(
            self._ends,
            self._batch,
            self._chunks,
            self._theta,
            whole,
            forcing,
            sums := _zeros(whole),
            out_forcing,
        )
        return self._run_back(work, sums, out)

    def second_variation(
        self,
        u: Parameters,
        forcing: Forcing,
        d: Parameters,
        d_forcing: Forcing,
        out: Parameters,
        out_forcing: Forcing,
        *,
        exact: bool,
    ) -> None:
        """Write the product of the Hessian, or of its Gauss-Newton part, with a direction ``d``."""
        self._open(u, returns=True, tangent=True)
        if self._d_theta is None:
            self._d_theta = Gathers(self._ends.network, self._slabs, self._traffic)
        self._d_theta.begin(d.theta, self._pipeline.sweeps(True))
        whole = self._whole(u)
        work = SecondVariation(
            self._ends,
            self._batch,
            self._chunks,
            self._theta,
            whole,
            forcing,
            sums := _zeros(whole),
            out_forcing,
            d_theta=self._d_theta,
            d=self._whole(d),
            d_forcing=d_forcing,
            exact=exact,
        )
        self._run_back(work, sums, out)
        self._d_theta.end()

    def _open(self, u: Parameters, returns: bool, tangent: bool = False) -> None:
        depth = self._slabs.grid.depth
        count = in_flight(len(self._batch.widths), depth.size, depth.rank) if returns else 1
        self._chunks.open(count, tangent)
        self._theta.begin(u.theta, self._pipeline.sweeps(returns))

    def _run(self, work: Gradient, reductions: Reductions | None) -> Array:
        self._pipeline.run(work, reductions)
        self._theta.end()
        if self._pipeline.dead and not self._pipeline.failure:
            work.scalars[...] = np.nan  # it failed elsewhere, or states are too large for numbers
        return work.scalars

    def _run_back(self, work: Gradient, sums: Parameters, out: Parameters) -> Array:
        if self._reductions is None:
            self._reductions = Reductions(self._ends.network, self._slabs, self._traffic)
        self._reductions.begin(out.theta)
        scalars = self._run(work, self._reductions)
        self._reductions.end()
        self._readout.reduce(sums.readout, out.readout)
        self._lift.reduce(sums.lift, out.lift)
        return scalars

    def _whole(self, parameters: Parameters) -> Parameters:
        """Lift and readout with the rows of all data ranks."""
        readout, lift = parameters.readout, parameters.lift
        none = np.empty((0, 0, 0))
        return Parameters(none, self._readout.gather(readout), self._lift.gather(lift))


def _zeros(ends: Parameters) -> Parameters:
    return Parameters(ends.theta, np.zeros_like(ends.readout), np.zeros_like(ends.lift))


def no_forcing(_: int) -> tuple[Array, Array]:
    """Arrays without entries."""
    return np.empty((0, 0)), np.empty((0, 0, 0))
