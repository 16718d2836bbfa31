"""Mass lumping: the nodes of a space as quadrature points.

The weights are ``(M_L)_ii = int phi_i dx``, so that ``E`` is the identity and the mass matrix diagonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.quadrature import Quadrature

Array = NDArray[np.float64]


class Lumped:
    """The owned nodes of a Lagrange space as the points of a rule.

    Args:
        V: Lagrange space.

    Attributes:
        V: The space.
        blocks: Its blocks.
        points: Owned nodes.
        weights: Lumped masses, (n,).
        x: Coordinates, (n, geometric dimension).

    Raises:
        InputError: A lumped mass is not positive, as that of the vertices of degree 2 on triangles.

    Collective.
    """

    def __init__(self, V: Any) -> None:
        self.V, self.blocks = V, Blocks(V)
        bs, exact = self.blocks.bs, Quadrature(V)
        mass = exact.integrate(np.ones((exact.points * bs, 1)))[::bs, 0]
        least = V.mesh.comm.allreduce(float(mass.min(initial=np.inf)), MPI.MIN)
        # What should be zero is a rounding error of either sign.
        if least <= 1e-12 * V.mesh.comm.allreduce(float(mass.max(initial=0.0)), MPI.MAX):
            raise InputError(
                f"the lumped mass of {V.ufl_element()} is not positive; take degree 1, or noise that is "
                "not lumped"
            )
        self.weights: Array = mass
        self.points: int = mass.size
        self.x: Array = V.tabulate_dof_coordinates()[: self.points, : V.mesh.geometry.dim]

    def on(self, V: Any) -> Lumped:
        """The same points for a space with other components.

        Raises:
            InputError: The space has other nodes.

        Collective.
        """
        one, other = self.V.ufl_element().basix_element, V.ufl_element().basix_element
        if V.mesh is not self.V.mesh or one != other:
            raise InputError(
                f"a coefficient in {V.ufl_element()} has no values at the nodes of "
                f"{self.V.ufl_element()}; interpolate it there, or take noise that is not lumped"
            )
        return Lumped(V)

    def transposed(self, scale: Array) -> sparse.csr_matrix:
        """``diag(scale)``, (local nodes, n)."""
        local = self.blocks.local // self.blocks.bs
        return sparse.diags(scale, shape=(local, self.points), format="csr")

    def evaluate(self, block: Array) -> Array:
        """The block itself."""
        return block

    def gradient(self, block: Array) -> Array:
        """Gradients jump at the nodes.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "a gradient has no value at the nodes of a lumped rule; take noise that is not lumped"
        )

    def integrate(self, values: Array) -> Array:
        """The block ``int g phi_i dx = (M_L)_ii g_i``."""
        return values * np.repeat(self.weights, self.blocks.bs)[:, None]
