"""What takes a slab's place in the chain of interfaces: its derivative in the states, or a cheap stand-in.

The state equation linearised at the interfaces is ``E_s dx_s - dx_{s+1} = r_{s+1}`` with ``E_s = Phi_x``
of slab ``s``. To solve it is to go through the slabs one after the other, so a preconditioner does that
with something much cheaper than a slab:

* :class:`Decoupled`, ``E = 0``: block Jacobi. Its Richardson iteration is nilpotent and ends after as many
  steps as there are slabs, no sooner: an interface is told of its neighbour in each.
* :class:`Frozen`: few long steps, each the Taylor polynomial of degree two of ``exp(H F_x)`` with the
  derivative in the middle of it: the coarse propagator of parareal (Lions, Maday, Turinici 2001,
  doi:10.1016/S0764-4442(00)01793-6) for the linearised flow and for its transpose at once.
* :class:`Exact`: the matrix ``Phi_x`` (N x N) of every sample, by ``N`` tangent sweeps of the slab. All
  slabs make them at the same time: this is elimination of the states in depth, for few neurons.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.solve.shooting.slab import Slab

Array = NDArray[np.float64]

DEGREE = 2  # of the Taylor polynomial; freezing the derivative is of second order, too


class Propagator(Protocol):
    """``E`` of one slab. States and costates are (N, K). Nothing here is collective.

    Attributes:
        products: Products with the coupling of one use, the sequential cost.
        setup: Tangent sweeps of the slab that :meth:`update` makes.
    """

    products: int
    setup: int

    def __init__(self, slab: Slab, steps: int) -> None: ...

    def update(self) -> None:
        """Take over the point at which the slab is linearised."""

    def tangent(self, dx: Array) -> Array:
        """``E dx``."""

    def adjoint(self, costate: Array) -> Array:
        """``E^T lambda``."""


class Decoupled:
    """``E = 0``. See :class:`Propagator`."""

    products = setup = 0

    def __init__(self, slab: Slab, steps: int) -> None:
        """Nothing to keep."""

    def update(self) -> None:
        """Nothing to do."""

    def tangent(self, dx: Array) -> Array:
        """``0``."""
        return np.zeros_like(dx)

    def adjoint(self, costate: Array) -> Array:
        """``0``."""
        return np.zeros_like(costate)


class Frozen:
    """``E = exp(H_m F_m) ... exp(H_1 F_1)`` with Taylor polynomials. See :class:`Propagator`.

    Args:
        slab: The slab.
        steps: Steps ``m``; at most one for each cell.
    """

    setup = 0

    def __init__(self, slab: Slab, steps: int) -> None:
        self._slab, cells = slab, len(slab.cells)
        edges = np.linspace(0, cells, min(steps, cells) + 1).round().astype(np.int64)
        self._middle = [int(cell) for cell in (edges[:-1] + edges[1:]) // 2]
        depth = slab.network.depth.nodes
        self._length = [float(depth[b] - depth[a]) for a, b in pairwise(edges)]
        self.products = DEGREE * len(self._middle)
        self._work = slab.network.coupling.buffers(slab.width)

    def update(self) -> None:
        """Keep the derivative in the middle of each step."""
        self._frozen = [self._slab.derivative(cell) for cell in self._middle]

    def tangent(self, dx: Array) -> Array:
        """``E dx``."""
        coupling, leak = self._slab.network.coupling, self._slab.network.leak
        total, out = dx.copy(), np.empty_like(dx)
        for length, (theta, slope) in zip(self._length, self._frozen, strict=True):
            term = total
            for j in range(1, DEGREE + 1):
                coupling.tangent(theta, term, out, self._work)
                term = length / j * (slope * out - leak * term)
                total = total + term
        return total

    def adjoint(self, costate: Array) -> Array:
        """``E^T lambda``."""
        coupling, leak = self._slab.network.coupling, self._slab.network.leak
        total, out = costate.copy(), np.empty_like(costate)
        steps = list(zip(self._length, self._frozen, strict=True))
        for length, (theta, slope) in reversed(steps):
            term = total
            for j in range(1, DEGREE + 1):
                coupling.adjoint(theta, slope * term, out, self._work)
                term = length / j * (out - leak * term)
                total = total + term
        return total


class Exact:
    """``E = Phi_x`` as a matrix for each sample. See :class:`Propagator`."""

    products = 1

    def __init__(self, slab: Slab, steps: int) -> None:
        self._slab = slab
        self.setup = slab.network.index.neurons

    def update(self) -> None:
        """``N`` tangent sweeps."""
        n = self._slab.network.index.neurons
        columns = []
        for j in range(n):
            unit = np.zeros((n, self._slab.width))
            unit[j] = 1.0
            columns.append(self._slab.tangent(None, unit, None).T)
        self._matrix = np.stack(columns, axis=-1)

    def tangent(self, dx: Array) -> Array:
        """``E dx``."""
        return (self._matrix @ dx.T[..., None])[..., 0].T

    def adjoint(self, costate: Array) -> Array:
        """``E^T lambda``."""
        return (costate.T[:, None] @ self._matrix)[:, 0].T


PROPAGATORS: dict[str, type[Propagator]] = {
    "decoupled": Decoupled,
    "frozen": Frozen,
    "exact": Exact,
}
