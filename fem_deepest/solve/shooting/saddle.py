"""The saddle form of a network in slabs of the depth: all of them at the same time.

Unknowns are the control ``u = (w, xi)``, the states ``X_s`` at the right ends of the slabs ``s = 1..S``
and the costates ``lambda_s`` there. The flow through a slab need not end where the next one begins
(multiple shooting: Bock, Plitt 1984, doi:10.1016/S1474-6670(17)61205-9); a multiplier sees to it,

    L = A(u, X) + (1/K) sum_k sum_s < lambda_{s+1}, Phi_s(X_s, u) - X_{s+1} >,     X_0 = lift(z) + xi_0,

``A = (1/K) sum_k Phi_T(readout X_S) + 1/2 <u, P u>``. Its stationary points are those of the action, with
the costate ``q`` of the adjoint sweep for ``lambda``. With one slab for each cell this is the Hamiltonian
form ``(x, p, w)`` itself. No slab waits for another one: residual and product are a forward and an adjoint
sweep, or a tangent and a second adjoint one, of the cells of *one* slab, with one message to a neighbour
before and one after.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Metric
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.solve.shooting.ends import SampleEnds
from fem_deepest.solve.shooting.interfaces import Interfaces
from fem_deepest.solve.shooting.slab import Slab
from fem_deepest.solve.shooting.weights import SlabWeights
from fem_deepest.spaces import Parameters
from fem_deepest.spaces.grid import agree, deal
from fem_deepest.spaces.slab_space import SlabSpace

Array = NDArray[np.float64]


class SlabSaddle:
    """Lagrangian of the slabs, with its residual and its second variation (the KKT matrix).

    Args:
        space: Layout of the control, one chunk of samples a rank.
        network: The network.
        loss: ``Phi_T``.
        inputs: Inputs (K, d) of all samples.
        targets: Their targets.
        prior: ``P`` on ``space``.
        slabs: Number ``S`` of slabs, a multiple of the ranks in depth. More than there are ranks are
            "virtual": the same iteration as on so many ranks.

    Attributes:
        grid: Process grid.
        space: The control's layout.
        network: The network.
        prior: ``P``.
        count: ``S``.
        slabs: Those of this rank.
        interfaces: Neighbours in depth.
        samples: ``K``.
        action: ``A`` at the last residual.
        defect: ``(1/K sum_k sum_s |Phi_s - X_{s+1}|^2)^(1/2)`` there.
        sweeps: Sweeps of a slab so far, one after the other.

    Raises:
        InputError: More slabs than cells, no multiple of the ranks, or several chunks.

    A vector has on every rank the control of :class:`.SlabSpace`, then ``X`` and ``lambda`` at the right
    ends of its slabs, each (own slabs, N, K). Collective on the grid: construction and every method.
    """

    def __init__(
        self,
        space: SlabSpace,
        network: Network,
        loss: Loss,
        inputs: Array,
        targets: NDArray,
        prior: Metric,
        slabs: int,
    ) -> None:
        grid, cells = space.grid, network.depth.cells
        if slabs % grid.depth.size or not grid.depth.size <= slabs <= cells:
            raise InputError(
                f"{slabs} slabs were asked for on {grid.depth.size} ranks in depth and {cells} cells, "
                "expected a multiple of the ranks with at least a cell in each"
            )
        if len(space.tiles) != 1:
            raise InputError(
                f"the saddle form got samples in {len(space.tiles)} chunks, expected one: there is "
                "nothing to pipeline"
            )
        self.grid, self.space, self.network = grid, space, network
        self.prior, self.count = prior, slabs
        self.samples = len(inputs)
        own = slice(space.samples.start, space.samples.stop)
        inputs, targets = inputs[own].T, targets[own].T
        self._ends = SampleEnds(space, network, loss, inputs.copy(), targets.copy())
        edges, each = deal(cells, slabs), slabs // grid.depth.size
        mine = range(grid.depth.rank * each, (grid.depth.rank + 1) * each)
        width = inputs.shape[1]
        self.slabs = [Slab(network, range(edges[s], edges[s + 1]), width) for s in mine]
        self.interfaces = Interfaces(grid.depth)
        self._weights = SlabWeights(space, network, self.interfaces)
        self._shape = (each, network.index.neurons, width)
        self._u, self._r = space.create(), space.create()
        self.action = self.defect = np.nan
        self.sweeps = 0

    def create(self) -> PETSc.Vec:
        """Zero vector."""
        size = self.space.local_size + 2 * int(np.prod(self._shape))
        return PETSc.Vec().createMPI((size, PETSc.DETERMINE), comm=self.grid.comm)

    def split(self, array: Array) -> tuple[Array, Array, Array]:
        """Views of this rank's ``u``, ``X`` and ``lambda``; not collective."""
        first, size = self.space.local_size, int(np.prod(self._shape))
        middle = first + size
        return (
            array[:first],
            array[first:middle].reshape(self._shape),
            array[middle:].reshape(self._shape),
        )

    def control(self, v: PETSc.Vec) -> PETSc.Vec:
        """New vector of the control's space with the control of ``v``."""
        u = self.space.create()
        u.array_w[...] = v.array_r[: self.space.local_size]
        return u

    def start(self, u: PETSc.Vec) -> PETSc.Vec:
        """Vector of a control with the states and costates of its sweeps, one slab after the other.

        Raises:
            NumericalFailure: An implicit stage did not converge.
        """
        v = self.create()
        array = v.array_w
        control, x, costates = self.split(array)
        control[...] = u.array_r
        weights = self._weights.gather(control)
        before = self.interfaces.receive(self._shape[1:])
        failure = ""
        try:
            before = self._ends.input(weights, control) if self.interfaces.first else before
            for s, slab in enumerate(self.slabs):
                x[s] = before = slab.forward(
                    self._at(weights, slab), before, self._forcing(control, slab)
                )
        except NumericalFailure as error:
            failure = str(error)
        self.interfaces.send(before)
        agree(self.grid.comm, failure)
        behind = self.interfaces.receive(self._shape[1:], upwards=True)
        if self.interfaces.last:
            behind, _ = self._ends.output(weights, x[-1], self._weights.zeros())
        for s, slab in reversed(list(enumerate(self.slabs))):
            costates[s] = behind
            behind, _ = slab.sensitivity(behind)
        self.interfaces.send(behind, upwards=True)
        self.sweeps += 2 * self.count
        return v

    def gradient(self, v: PETSc.Vec, r: PETSc.Vec) -> float:
        """``r = dL/dv``, where the next products are taken; returns ``L``.

        Raises:
            NumericalFailure: An implicit stage did not converge.
        """
        u, x, costates = self.split(v.array_r)
        out = r.array_w
        out[...] = 0.0
        r_u, r_x, r_costates = self.split(out)
        weights = self._weights.gather(u)
        sums, scalars, failure = self._weights.zeros(), np.zeros(3), ""
        before = self.interfaces.down(x[-1])
        try:
            before = self._ends.input(weights, u) if self.interfaces.first else before
            for s, slab in enumerate(self.slabs):
                r_costates[s] = slab.forward(
                    self._at(weights, slab), before, self._forcing(u, slab)
                )
                before = x[s]
        except NumericalFailure as error:
            failure = str(error)
        agree(self.grid.comm, failure)
        r_costates -= x
        scalars[1], scalars[2] = np.vdot(r_costates, costates), np.vdot(r_costates, r_costates)
        if self.interfaces.last:
            r_x[-1], scalars[0] = self._ends.output(weights, x[-1], sums)
        for s, slab in enumerate(self.slabs):
            back = slab.adjoint(costates[s], self._at(sums, slab), self._forcing(r_u, slab))
            self._ahead(s, back, r_x, sums, r_u)
        self._finish(r_x, costates, sums, r_u, out)
        self.sweeps += 2 * len(self.slabs)
        self.grid.comm.Allreduce(MPI.IN_PLACE, scalars, op=MPI.SUM)
        self._prior(u, r_u, out)
        loss, coupled, square = (float(total) / self.samples for total in scalars)
        self.action = loss + 0.5 * float(self._u.dot(self._r))
        self.defect = float(np.sqrt(square))
        return self.action + coupled

    def product(self, d: PETSc.Vec, r: PETSc.Vec, exact: bool = True) -> None:
        """``r = L'' d`` at the last residual; without ``exact`` only the loss and ``P`` are curved."""
        d_u, d_x, d_costates = self.split(d.array_r)
        out = r.array_w
        out[...] = 0.0
        r_u, r_x, r_costates = self.split(out)
        direction, sums = self._weights.gather(d_u), self._weights.zeros()
        before = self.interfaces.down(d_x[-1])
        before = self._ends.input_tangent(direction, d_u) if self.interfaces.first else before
        if self.interfaces.last:
            r_x[-1] = self._ends.curvature(direction, d_x[-1], sums, exact)
        for s, slab in enumerate(self.slabs):
            r_costates[s] = slab.tangent(
                self._at(direction, slab), before, self._forcing(d_u, slab)
            )
            before = d_x[s]
            back = slab.second_adjoint(
                d_costates[s], self._at(sums, slab), self._forcing(r_u, slab), exact
            )
            self._ahead(s, back, r_x, sums, r_u)
        r_costates -= d_x
        self._finish(r_x, d_costates, sums, r_u, out)
        self.sweeps += 2 * len(self.slabs)
        self._prior(d_u, r_u, out)

    def constraint(self, d_u: Array) -> Array:
        """``Phi_u du`` at the right ends, (own slabs, N, K)."""
        direction, out = self._weights.gather(d_u), np.empty(self._shape)
        before = np.zeros(self._shape[1:])
        before = self._ends.input_tangent(direction, d_u) if self.interfaces.first else before
        for s, slab in enumerate(self.slabs):
            out[s] = slab.tangent(self._at(direction, slab), before, self._forcing(d_u, slab))
            before = np.zeros(self._shape[1:])
        self.sweeps += len(self.slabs)
        return out

    def constraint_transposed(self, costates: Array, r_u: Array) -> None:
        """``r_u = (1/K) Phi_u^T lambda``."""
        sums = self._weights.zeros()
        r_u[...] = 0.0
        for s, slab in enumerate(self.slabs):
            part = self._forcing(r_u, slab)
            back = slab.second_adjoint(costates[s], self._at(sums, slab), part, False)
            if s == 0 and self.interfaces.first:
                self._ends.input_adjoint(back, sums, r_u)
        self._weights.add(sums, r_u)
        r_u /= self.samples
        self.sweeps += len(self.slabs)

    def own_cells(self, slab: Slab) -> slice:
        """Cells of one of this rank's slabs among those of the rank; not collective."""
        first = self.slabs[0].cells.start
        return slice(slab.cells.start - first, slab.cells.stop - first)

    def _at(self, weights: Parameters, slab: Slab) -> Array:
        """Weights at the nodes of one of this rank's slabs, a view."""
        own = self.own_cells(slab)
        return weights.theta[own.start : own.stop + 1]

    def _forcing(self, u: Array, slab: Slab) -> Array | None:
        xi = self.space.forcing(u, 0)[1]
        return xi[self.own_cells(slab)] if len(xi) else None

    def _ahead(self, s: int, back: Array, r_x: Array, sums: Parameters, r_u: Array) -> None:
        """What comes out of slab ``s`` on the left, to where it belongs."""
        if s:
            r_x[s - 1] += back
            return
        self._back = back
        if self.interfaces.first:
            self._ends.input_adjoint(back, sums, r_u)

    def _finish(
        self, r_x: Array, costates: Array, sums: Parameters, r_u: Array, out: Array
    ) -> None:
        r_x -= costates
        r_x[-1] += self.interfaces.up(self._back)
        self._weights.add(sums, r_u)
        out /= self.samples

    def _prior(self, u: Array, r_u: Array, out: Array) -> None:
        """Add ``P u``."""
        self._u.array_w[...] = u
        self.prior.apply(self._u, self._r)
        r_u += self._r.array_r
