r"""Contours as phase fields: their length, their area, and how they move.

The length of the contour is the energy of Modica and Mortola on P1 elements,

    Per_h(u) = 1/gamma ( eps/2 u^T K u + 1/eps sum_i m_i W(u_i) ),

with lumped masses ``m_i``, and the area is ``sum_i m_i h(u_i)``; see
:mod:`fem_deepest.contours.profile`. The gradient flow of ``nu Per_h`` with the mobility ``gamma/eps`` is
the equation of Allen and Cahn,

    du/dt = nu ( Laplace u + (u - u^3) / eps^2 ),

whose contour moves with ``nu`` times its curvature as ``eps -> 0`` (Evans, Soner, Souganidis 1992,
doi:10.1002/cpa.3160450903). No level set has to be made a distance again, and contours may split and
merge.

All blocks are (owned nodes, S), one contour a column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.contours import profile
from fem_deepest.contours.heat import HeatFlow
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks

Array = NDArray[np.float64]


class PhaseField:
    """Contours on a mesh in the plane.

    Args:
        V: Scalar Lagrange space of degree one on a mesh of two dimensions.
        eps: Width of the profile; should be about one and a half cells or more, or the contour feels the
            mesh.

    Attributes:
        eps: The width.
        masses: ``m_i``, (owned, 1).
        x: Places of the nodes, (owned, 2).

    Raises:
        InputError: The mesh is not in the plane, the element is another one, or ``eps`` is not positive.

    Collective on the mesh: construction and every method but :meth:`start`.
    """

    def __init__(self, V: Any, eps: float) -> None:
        domain = V.mesh
        if domain.topology.dim != 2 or domain.geometry.dim != 2:
            raise InputError(
                f"a mesh of dimension {domain.topology.dim} in {domain.geometry.dim} coordinates was "
                "given; contours are curves in the plane, give a mesh of two dimensions"
            )
        if not 0.0 < eps < np.inf:
            raise InputError(f"eps = {eps:g} was given, expected a positive width of the profile")
        self.V, self.eps, self.blocks = V, eps, Blocks(V)
        self.heat = HeatFlow(V)
        self.masses = self.heat.masses
        self.x: Array = V.tabulate_dof_coordinates()[: self.blocks.owned, :2].copy()

    def start(self, distance: Callable[[Array], Array], samples: int = 1) -> Array:
        """The profile of a contour, once for each sample, (owned, samples). Not collective.

        Args:
            distance: Signed distance, positive inside: (n, 2) to (n,).
            samples: Number of columns.
        """
        u = profile.profile(distance(self.x), self.eps)
        return np.repeat(u[:, None], samples, axis=1)

    def length(self, U: Array) -> Array:
        """``Per_h``, (S,)."""
        local = 0.5 * self.eps * np.einsum("is,is->s", U, self.heat.stiffness(U))
        local += (self.masses / self.eps * profile.well(U)).sum(axis=0)
        return np.asarray(self.sum(local) / profile.TENSION)

    def length_gradient(self, U: Array) -> Array:
        """``dPer_h/dU``, a dual block (owned, S)."""
        g = self.eps * self.heat.stiffness(U)
        g += self.masses / self.eps * profile.well_slope(U)
        g /= profile.TENSION
        return g

    def area(self, U: Array) -> Array:
        """``int h(u)``, (S,)."""
        return self.sum((self.masses * profile.indicator(U)).sum(axis=0))

    def straighten(self, U: Array, t: float) -> Array:
        """Move by curvature over the time ``t``, ``nu`` included: relax, heat, relax (Strang).

        Both parts are solved exactly and keep ``|u| <= 1``. A step of ``t = eps^2 / 2`` is a good one.
        """
        half = profile.relax(U, 0.5 * t, self.eps)
        # On a mesh with obtuse angles the heat flow may leave the interval.
        whole = np.clip(self.heat.flow(half, t), -1.0, 1.0)
        return profile.relax(whole, 0.5 * t, self.eps)

    def shift(self, U: Array, s: Array) -> Array:
        """Move the contours by ``s`` along their outer normal; see :func:`profile.shift`."""
        return profile.shift(U, s, self.eps)

    def sum(self, local: Array) -> Array:
        """The sum over the ranks."""
        total = np.array(local, dtype=np.float64)
        self.V.mesh.comm.Allreduce(MPI.IN_PLACE, total)
        return total
