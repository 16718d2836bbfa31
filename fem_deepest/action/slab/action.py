"""Action of a network whose depth is dealt out in slabs and whose weights are sharded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import Parts
from fem_deepest.action.network.ends import SCALARS, Ends, check_scalings
from fem_deepest.action.slab.batch import Batch, Source
from fem_deepest.action.slab.chunk import choose_chunk
from fem_deepest.action.slab.evaluation import Evaluation, no_forcing
from fem_deepest.action.slab.prior import SlabPrior
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.errors import NumericalFailure
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import ProcessGrid
from fem_deepest.spaces.slab_space import SlabSpace
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]


class SlabAction:
    """The action of :class:`.NetworkAction` on a grid of slabs of the depth x data, with sharded weights.

    Every parameter is on one rank, see :class:`.SlabSpace`, and no rank ever has more than its part and a
    few nodes. The samples of a rank go through its slab in chunks, see :class:`.Pipeline`. Sums over
    samples are equal on all grids to rounding.

    Args:
        grid: Process grid; the cells are dealt out over its depth axis, samples and rows over its data
            axis.
        network: The network.
        loss: ``Phi_T`` of the output.
        inputs: All inputs, (K, d); sliced only for what a rank needs, when it needs it.
        targets: All targets: class numbers (K,) or values (K, outputs); likewise.
        strength: ``lambda > 0``, strength of the prior.
        kappa: ``kappa > 0``, inverse correlation length of the prior in depth.
        ell: ``ell >= 0``, length of the smoothing of the prior along the neuron index.
        model_precision: ``R_f``; ``inf`` is the strong constraint.
        input_precision: ``R_0`` of the soft input condition; ``inf`` clamps the input.
        chunk: Samples that go through a slab together; from measured costs if it is not given.

    Attributes:
        samples: ``K``.
        slabs: Cells, nodes and rows of the ranks.
        chunk: Most samples in a chunk.
        batch: The chunks of this rank.
        model_precision: ``R_f``.
        input_precision: ``R_0``.
        metric: The prior precision ``P``, forcings included.
        parts: The action and its parts at the last point evaluated.
        evaluations: Gradients so far.
        hessians: Hessian and Gauss-Newton products so far.
        traffic: What this rank has sent in the last evaluation.

    Raises:
        InputError: A precision or strength is not positive, or there are no samples, or more slabs than
            cells, or the neuron index is spread over ranks.

    Collective on the grid: construction and every method.
    """

    def __init__(
        self,
        grid: ProcessGrid,
        network: Network,
        loss: Loss,
        inputs: Source,
        targets: Source,
        *,
        strength: float,
        kappa: float = 1.0,
        ell: float = 0.0,
        model_precision: float = np.inf,
        input_precision: float = np.inf,
        chunk: int | None = None,
    ) -> None:
        self.samples = len(inputs)
        check_scalings(strength, kappa, ell, model_precision, input_precision, self.samples)
        self.grid, self.network, self.loss = grid, network, loss
        self.model_precision, self.input_precision = model_precision, input_precision
        self.slabs = Slabs(grid, network.depth.cells)
        self.chunk = chunk or choose_chunk(network, self.slabs, self.samples)
        self.batch = Batch.deal(self.slabs, inputs, targets, self.chunk)
        self.space = SlabSpace(
            grid,
            network.shapes,
            self.samples,
            len(self.batch.widths),
            initial=bool(np.isfinite(input_precision)),
            forced=bool(np.isfinite(model_precision)),
        )
        self.metric = SlabPrior(
            self.space,
            network,
            strength=strength,
            kappa=kappa,
            ell=ell,
            model=model_precision,
            initial=input_precision,
            samples=self.samples,
        )
        self.traffic = Traffic()
        self._ends = Ends(network, loss, model_precision, input_precision)
        self._evaluation = Evaluation(self._ends, self.slabs, self.batch, self.traffic)
        self._riesz = self.create()
        self.parts = Parts(*[np.nan] * 5)
        self.evaluations = self.hessians = 0

    def create(self) -> PETSc.Vec:
        """Zero control."""
        return self.space.create()

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``; the parts are left in :attr:`parts`."""
        array = u.array_r
        self.traffic.clear()
        scalars = self._evaluation.value(self.space.parameters(array), self._forcing(array))
        return self._finish(u, scalars)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du`` by one forward and one adjoint sweep; returns ``A(u)``."""
        array, out, space = u.array_r, g.array_w, self.space
        self.traffic.clear()
        self.evaluations += 1
        scalars = self._evaluation.gradient(
            space.parameters(array), self._forcing(array), space.parameters(out), self._forcing(out)
        )
        value = self._finish(u, scalars)
        self._collect(out)
        return value

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``, exact."""
        self._second_variation(u, d, r, exact=True)

    def gauss_newton(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = (J^T Phi_T'' J + P) d`` with ``J`` the derivative of the output: never indefinite."""
        self._second_variation(u, d, r, exact=False)

    def score(self, u: PETSc.Vec, inputs: Source, targets: Source) -> tuple[float, float]:
        """Mean loss and score on other samples, without forcings, by one sweep of all ranks.

        Args:
            u: Control.
            inputs: Inputs, (K, d); sliced as those of the action.
            targets: Targets.
        """
        batch = Batch.deal(self.slabs, inputs, targets, self.chunk)
        evaluation = Evaluation(self._ends, self.slabs, batch, Traffic())
        parameters = self.space.parameters(u.array_r)
        sums, count = self._sum(evaluation.value(parameters, no_forcing), evaluation), len(inputs)
        loss, score = float(sums[0]), float(sums[1])
        return loss / count, self.loss.score(score, count, self.network.outputs)

    def outputs(self, u: PETSc.Vec, inputs: Source) -> tuple[range, Array]:
        """Outputs of other inputs, without forcings, by one sweep of all ranks.

        Args:
            u: Control.
            inputs: Inputs, (K, d).

        Returns:
            Numbers of the samples of this rank, and their outputs (samples, outputs): in the last slab its
            data ranks have all of them between them, the others none.
        """
        batch = Batch.deal(self.slabs, inputs, inputs, self.chunk)
        evaluation = Evaluation(self._ends, self.slabs, batch, Traffic())
        outputs = evaluation.outputs(self.space.parameters(u.array_r))
        self._sum(np.zeros(SCALARS), evaluation)
        if not self.slabs.last:
            return range(0), np.empty((0, self.network.outputs))
        # A chunk whose states have become too large for numbers has not come out.
        found = [
            outputs.get(chunk, np.full((self.network.outputs, width), np.nan))
            for chunk, width in enumerate(batch.widths)
        ]
        return self.slabs.share(len(inputs)), np.concatenate(found, axis=1).T

    def _second_variation(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec, exact: bool) -> None:
        space = self.space
        self.traffic.clear()
        self.hessians += 1
        array, d_array, out = u.array_r, d.array_r, r.array_w
        self._evaluation.second_variation(
            space.parameters(array),
            self._forcing(array),
            space.parameters(d_array),
            self._forcing(d_array),
            space.parameters(out),
            self._forcing(out),
            exact=exact,
        )
        self._sum(np.zeros(SCALARS), self._evaluation)
        self.metric.apply(d, self._riesz)
        self._collect(out)

    def _forcing(self, array: Array) -> Callable[[int], tuple[Array, Array]]:
        return lambda chunk: self.space.forcing(array, chunk)

    def _finish(self, u: PETSc.Vec, scalars: Array) -> float:
        """Sum over all ranks and add the prior; leaves ``P u`` in ``_riesz``."""
        self.metric.apply(u, self._riesz)
        size = self.space.parameter_size
        own = 0.5 * float(np.dot(u.array_r[:size], self._riesz.array_r[:size]))
        sums = self._sum(np.append(scalars, own), self._evaluation)
        self.parts = Parts.of(sums, self.samples, self.loss, self.network.outputs)
        return self.parts.action

    def _sum(self, scalars: Array, evaluation: Evaluation) -> Array:
        """Sums over all ranks.

        Raises:
            NumericalFailure: What failed on some rank, on all ranks.
        """
        comm, failed = self.grid.comm, bool(evaluation.failure)
        sums = np.append(scalars, failed)
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        self.traffic.count("sums", sums.nbytes if comm.size > 1 else 0)
        if sums[-1]:
            raise NumericalFailure(next(filter(None, comm.allgather(evaluation.failure))))
        return sums[:-1]

    def _collect(self, out: Array) -> None:
        """Turn sums over samples into a dual vector and add ``_riesz``."""
        out /= self.samples
        out += self._riesz.array_r
