"""The output of a network: linear functionals of the last state, trained or fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.spaces import Parameters
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """``y = C M_S x + c`` with trained ``C`` in ``V_S`` and ``c``, or ``y = H x`` with a fixed ``H``.

    ``C M_S x = int C(s) x(s) ds``: a functional is a field over the index, so that it can be refined with
    it. On points ``M_S = 1`` and ``C`` is a matrix.

    Attributes:
        space: ``V_S``.
        outputs: Number of functionals.
        trained: Whether ``[C | c]`` are parameters.
        fixed: ``H`` (outputs, N) of a readout that is not trained; None for the first neurons.
        comm: Ranks that share the index, each with its part of ``C``, the first one with ``c``; None
            where every rank has all of it.

    States are (..., N, K), outputs (..., outputs, K). Collective on ``comm``, if there is one: ``value``
    and ``tangent``, whose results all of its ranks get.
    """

    space: Factor
    outputs: int
    trained: bool
    fixed: Array | None = None
    comm: MPI.Intracomm | None = None

    @property
    def has_constant(self) -> bool:
        """Whether ``c`` is here."""
        return self.comm is None or self.comm.rank == 0

    @property
    def columns(self) -> Factor:
        """Space of the rows of ``[C | c]``, for the prior."""
        return self.space + Factor.plain(1) if self.has_constant else self.space

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of ``[C | c]``, or of this rank's part."""
        return self.outputs if self.trained else 0, self.space.size + self.has_constant

    def functionals(self, parameters: Parameters) -> Array:
        """``C M_S`` or ``H``, (..., outputs, N)."""
        if self.trained:
            return self._weighted(parameters.readout[..., : self.space.size])
        if self.fixed is not None:
            return self.fixed
        return np.eye(self.outputs, self.space.size)

    def value(self, parameters: Parameters, x: Array) -> Array:
        """``y``."""
        return self._summed(self._affine(parameters, x))

    def tangent(self, parameters: Parameters, direction: Parameters, x: Array, dx: Array) -> Array:
        """Derivative of ``y`` along ``direction`` and ``dx``."""
        dy = self._of(parameters, dx)
        return self._summed(dy + self._affine(direction, x) if self.trained else dy)

    def transposed(self, parameters: Parameters, dy: Array) -> Array:
        """``(C M_S)^T dy`` or ``H^T dy``: the derivative in ``x``."""
        if self.trained or self.fixed is not None:
            return np.swapaxes(self.functionals(parameters), -1, -2) @ dy
        q = np.zeros((*dy.shape[:-2], self.space.size, dy.shape[-1]))
        q[..., : self.outputs, :] = dy
        return q

    def gradient(self, dy: Array, x: Array, out: Array, constant: bool = True) -> None:
        """Add the derivative in ``[C | c]``, without ``c`` on request."""
        if not self.trained:
            return
        out[..., : self.space.size] += self._weighted(dy @ np.swapaxes(x, -1, -2))
        if constant and self.has_constant:
            out[..., -1] += dy.sum(axis=-1)

    def _affine(self, parameters: Parameters, x: Array) -> Array:
        y = self._of(parameters, x)
        if self.trained and self.has_constant:
            y += parameters.readout[..., -1:]
        return y

    def _summed(self, y: Array) -> Array:
        """The sum over the parts of the index."""
        if self.comm is not None and self.comm.size > 1:
            self.comm.Allreduce(MPI.IN_PLACE, y, op=MPI.SUM)
        return y

    def _of(self, parameters: Parameters, x: Array) -> Array:
        if self.trained or self.fixed is not None:
            return self.functionals(parameters) @ x
        return x[..., : self.outputs, :].copy()

    def _weighted(self, a: Array) -> Array:
        return a if self.space.uniform == 1.0 else self.space.apply_mass(a, -1)
