"""White noise on a finite element space: loads that are exactly ``N(0, dt M)``.

The increment of a cylindrical Wiener process over a step, tested with the basis functions, is a
Gaussian vector ``b_i = int phi_i dW`` with covariance ``dt M``, ``M`` the mass matrix. With a rule of
positive weights ``w_q`` (times the volume element) that integrates ``phi_i phi_j`` exactly,

    b = sqrt(dt) B zeta,     B_iq = phi_i(x_q) sqrt(w_q),     B B^T = M,

one independent standard normal ``zeta_q`` for each point: no factorisation of ``M``. It is the same as
``int zeta_h phi_i dx`` with the values ``sqrt(dt / w_q) zeta_q`` at the points, and ``int G(u) phi_i dW``
comes with it. ``zeta`` is a function of the cell, the step, the sample and the seed: the same numbers
on any number of ranks, and a restart needs only the number of the step.

Croci, Giles, Rognes, Farrell, Efficient white noise sampling and coupling for multilevel Monte Carlo
with nonnested meshes (2018), doi:10.1137/18M1175239.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.keys import cell_keys, dof_keys, point_order
from fem_deepest.noise.philox import normals
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature, Rule

Array = NDArray[np.float64]


class WhiteNoise:
    """White noise in time and space on ``V``, by steps.

    Args:
        V: Lagrange space, scalar or vector-valued (independent components), continuous or not.
        seed: Seed of the run.
        stream: Number of the noise in the run: two noises differ here.
        lumped: One normal for each degree of freedom and ``B = sqrt(M_L)``: the lumped mass matrix,
            ``(M_L)_ii = int phi_i dx``, takes the place of ``M``.

    Attributes:
        V: The space.
        blocks: Its blocks.
        quadrature: Points of the noise: quadrature points, or the nodes if lumped.
        weights: ``w_q`` of each row of :meth:`points`.
        factor: ``B`` for one component, (local nodes, points); for ``bs`` components its Kronecker product
            with the identity.

    Raises:
        InputError: The keys of the mesh are not available, the element is not Lagrange, or a lumped
            mass is not positive.

    Collective: construction and every method.
    """

    def __init__(self, V: Any, seed: int, stream: int = 0, lumped: bool = False) -> None:
        self.V, self.seed, self.stream, self.lumped = V, seed, stream, lumped
        self.blocks = Blocks(V)
        bs = self.blocks.bs
        self.quadrature: Rule
        if lumped:
            self.quadrature, self._keys, self._width = Lumped(V), dof_keys(V), bs
        else:
            self.quadrature = Quadrature(V, order=point_order)
            cells = V.mesh.topology.index_map(V.mesh.topology.dim).size_local
            self._keys = cell_keys(V.mesh)[:cells]
            self._width = max(1, self.quadrature.points // max(1, cells)) * bs
        self.weights = np.repeat(self.quadrature.weights, bs)
        self.factor = self.quadrature.transposed(np.sqrt(self.quadrature.weights))
        normals(seed, self._keys[:0], 0, stream, (), self._width)  # refuses bad numbers now

    def normals(self, step: int, samples: Sequence[int] = (0,)) -> Array:
        """``zeta``, (points * bs, S), the components of a point next to each other.

        Args:
            step: Number of the step.
            samples: Numbers of the samples.

        Raises:
            InputError: A number is negative or too large.
        """
        return normals(self.seed, self._keys, step, self.stream, samples, self._width)

    def points(self, step: int, dt: float, samples: Sequence[int] = (0,)) -> Array:
        """``sqrt(dt / w_q) zeta_q``: values of the increment at the points, (points * bs, S).

        ``int phi_i g dW = sum_q w_q phi_i(x_q) g(x_q)`` times these.

        Args:
            step: Number of the step.
            dt: Length of the step.
            samples: Numbers of the samples.

        Raises:
            InputError: The step is not positive, or a number is negative or too large.
        """
        values = self.normals(step, samples)
        values *= np.sqrt(_positive(dt) / self.weights)[:, None]
        return values

    def load(self, step: int, dt: float, samples: Sequence[int] = (0,)) -> Array:
        """The block ``b_i = int phi_i dW``, law ``N(0, dt M)``.

        Args:
            step: Number of the step.
            dt: Length of the step.
            samples: Numbers of the samples.

        Raises:
            InputError: See :meth:`points`.
        """
        root = np.sqrt(_positive(dt))
        return self.apply(self.normals(step, samples), root)

    def apply(self, zeta: Array, scale: float = 1.0) -> Array:
        """The block ``scale B zeta``.

        Args:
            zeta: (points * bs, S).
            scale: A number.
        """
        samples = zeta.shape[1]
        wide = zeta.reshape(self.factor.shape[1], self.blocks.bs * samples)
        local = (self.factor @ wide).reshape(-1, samples)
        local *= scale
        return self.blocks.accumulate(local)


def _positive(dt: float) -> float:
    if not 0.0 < dt < np.inf:
        raise InputError(f"the step of a noise has length {dt}, expected a positive number")
    return dt
