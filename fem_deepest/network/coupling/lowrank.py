"""Coupling by a kernel of low rank: ``z(s) = sum_k u_k(s) int_S v_k(s') x(s') ds' + b(s)``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import fsum

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.protocol import Sparse, Work
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LowRank:
    """``theta = [V | U | b]``, effective ``[M_S V | U | b]``: ``z = U V^T M_S x + b``, ``w = U V^T``.

    ``O(r N)`` parameters and operations in place of ``O(N^2)``. The rows are functions of the index,
    the columns are not: the prior is the H1 norm of each ``u_k``, ``v_k`` and of ``b``. Its least value
    over all factors of one kernel is ``lambda`` times the nuclear norm of ``w`` where that does not
    depend on depth (``kappa = 1``, ``T = 1``, ``ell = 0``; Srebro, Rennie, Jaakkola 2004, Maximum-margin
    matrix factorization), so that small singular values are driven out.

    A rotation of the factors, the same at all depths, ``U Q`` and ``V Q`` with ``Q^T Q = 1``, changes
    nothing: minima are not isolated, and the Hessian at one has a null space of dimension
    ``r (r - 1) / 2``. See :class:`.Coupling` for the methods. Nothing here is collective.

    Attributes:
        index: Neuron index.
        rank: ``r``.

    Raises:
        InputError: The rank is not between 1 and ``N``.
    """

    index: NeuronSpace
    rank: int

    parameters_text = "factors of the kernel w = U V^T, and bias b"
    comm = None

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= self.neurons:
            raise InputError(
                f"a kernel of rank {self.rank} was asked for, expected 1 to {self.neurons}, the number "
                "of neurons; take a smaller rank or coupling = 'dense'"
            )

    @property
    def neurons(self) -> int:
        """``N``."""
        return self.index.neurons

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, 2 r + 1)``."""
        return self.neurons, 2 * self.rank + 1

    @property
    def rows(self) -> Factor:
        """``V_S``."""
        return self.index.factor

    @cached_property
    def columns(self) -> Factor:
        """An index set: factors of different ``k`` have nothing to do with each other."""
        return Factor.plain(2 * self.rank + 1)

    def effective(self, theta: Array) -> Array:
        """``[M_S V | U | b]``; on points ``theta`` itself."""
        if self.rows.uniform == 1.0:
            return theta
        out = theta.copy()
        self.effective_transposed(out)  # M_S is symmetric
        return out

    def effective_transposed(self, g: Array) -> None:
        """Transpose of :meth:`effective`, in place."""
        if self.rows.uniform != 1.0:
            g[..., : self.rank] = self.rows.apply_mass(g[..., : self.rank], -2)

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """``[V^T x; 1]``, two more arrays (r, K), one (N, K), and two matrices (N, r)."""
        full = np.ones((*lead, self.rank + 1, width))
        one, two = (np.empty((*lead, self.rank, width)) for _ in range(2))
        matrices = (np.empty((*lead, self.neurons, self.rank)) for _ in range(2))
        return full, one, two, np.empty((*lead, self.neurons, width)), *matrices

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``[U | b] [V^T x; 1]``."""
        np.matmul(theta[..., self.rank :], self._inner(theta, full, work), out=out)

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``U V^T dx``."""
        V, U = self._factors(theta)
        np.matmul(_t(V), dx, out=work[1])
        np.matmul(U, work[1], out=out)

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``V U^T v``."""
        V, U = self._factors(theta)
        np.matmul(_t(U), v, out=work[1])
        np.matmul(V, work[1], out=out)

    def variation(self, theta: Array, d_theta: Array, full: Array, out: Array, work: Work) -> None:
        """``[dU | db] [V^T x; 1] + U dV^T x``."""
        (dV, _), (_, U) = self._factors(d_theta), self._factors(theta)
        np.matmul(d_theta[..., self.rank :], self._inner(theta, full, work), out=out)
        np.matmul(_t(dV), full[..., :-1, :], out=work[1])
        np.matmul(U, work[1], out=work[3])
        out += work[3]

    def gradient(self, theta: Array, v: Array, full: Array, out: Array, work: Work) -> None:
        """``[x (U^T v)^T | v [V^T x; 1]^T]``."""
        _, U = self._factors(theta)
        np.matmul(_t(U), v, out=work[1])
        np.matmul(full[..., :-1, :], _t(work[1]), out=out[..., : self.rank])
        np.matmul(v, _t(self._inner(theta, full, work)), out=out[..., self.rank :])

    def second_adjoint(
        self,
        theta: Array,
        d_theta: Array,
        v: Array,
        dx: Array,
        full: Array,
        out_x: Array,
        out_theta: Array,
        work: Work,
    ) -> None:
        """``B`` is trilinear: all the products with two of ``dU, dV, dx``.

        out_x += dV U^T v + V dU^T v
        out_V += dx (U^T v)^T + x (dU^T v)^T
        out_U += v (dV^T x + V^T dx)^T
        """
        (V, U), (dV, dU), x = self._factors(theta), self._factors(d_theta), full[..., :-1, :]
        _, one, two, states, matrix, product = work
        np.matmul(_t(U), v, out=one)
        np.matmul(_t(dU), v, out=two)
        for left, right in ((dV, one), (V, two)):
            np.matmul(left, right, out=states)
            out_x += states
        np.matmul(dx, _t(one), out=matrix)
        np.matmul(x, _t(two), out=product)
        matrix += product
        out_theta[..., : self.rank] += matrix
        np.matmul(_t(dV), x, out=one)
        np.matmul(_t(V), dx, out=two)
        one += two
        np.matmul(v, _t(one), out=matrix)
        out_theta[..., self.rank : -1] += matrix

    def prolongation(self, finer: LowRank) -> tuple[Sparse, Sparse]:
        """``P V``, ``P U`` and ``P b`` with the interpolation ``P`` of states."""
        return self.index.prolongation(finer.index), None

    def matrix(self, theta: Array) -> Array:
        """``U V^T``."""
        V, U = self._factors(theta)
        return U @ _t(V)

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """Gaussian factors of one size, constant in depth; no bias.

        Where both factors vanish the gradient does too, and it is a saddle point that no descent
        leaves; where one does, it sees nothing of the other. Factors of one size are those of least
        prior for their kernel. Their deviation ``d`` gives ``U V^T M_S`` entries of deviation
        ``sqrt(r) d^2 |S| / N``.
        """
        n, r = self.neurons, self.rank
        scale = np.sqrt(deviation * np.sqrt(n / r) / fsum(self.index.weights))
        out[...] = 0.0
        out[..., :-1] = scale * random.standard_normal((n, 2 * r))

    def _factors(self, theta: Array) -> tuple[Array, Array]:
        """``V`` and ``U``."""
        return theta[..., : self.rank], theta[..., self.rank : -1]

    def _inner(self, theta: Array, full: Array, work: Work) -> Array:
        """``[V^T x; 1]``; the last row has been there from the start."""
        np.matmul(_t(theta[..., : self.rank]), full[..., :-1, :], out=work[0][..., :-1, :])
        return work[0]


def _t(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)
