"""What a coupling is: the map ``z = B(theta; [x; 1])`` inside the activation, and its derivatives.

``B`` is affine in the states and smooth in the parameters ``theta``, a matrix whose rows and columns
are each a factor of a tensor-product space: the space of the parameters at one depth node. Its four
derivatives come in two pairs of transposes,

    tangent    B_x dx          adjoint   B_x^T v
    variation  B_theta dtheta  gradient  B_theta^T v

and ``second_adjoint`` is what is left of its second derivative, ``B_x_theta`` and ``B_theta_theta``.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeAlias

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]
Work = tuple[Array, ...]
Sparse: TypeAlias = sparse.csr_matrix | None


class Coupling(Protocol):
    """Linear coupling of ``N`` neurons with parameters ``theta`` of ``shape`` (rows, columns).

    The states of ``K`` samples are columns. ``full = [x; 1]`` (N + 1, K) has a row of ones, so that a
    bias may be a column like the others. ``theta`` stands for effective parameters, see
    :meth:`effective`. All arrays may have axes for networks side by side before the last two, the
    same ones. Products write into ``out`` and use ``work`` as :meth:`buffers` made it; a coupling
    itself holds no state, so that it may serve tiles of several widths. The products are collective on
    ``comm``, if there is one; nothing else is collective.
    """

    @property
    def neurons(self) -> int:
        """``N``."""

    @property
    def comm(self) -> MPI.Intracomm | None:
        """Ranks that share the neurons, and make the products together; None where a rank has all."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the parameters at a depth node."""

    @property
    def rows(self) -> Factor:
        """Space of the rows, for the prior."""

    @property
    def columns(self) -> Factor:
        """Space of the columns, for the prior."""

    @property
    def parameters_text(self) -> str:
        """What ``theta`` is, for a report."""

    def effective(self, theta: Array) -> Array:
        """Fixed linear map of stored parameters (..., rows, columns), e.g. ``[w | b] -> [w M_S | b]``.

        It may return ``theta`` itself.
        """

    def effective_transposed(self, g: Array) -> None:
        """Transpose of :meth:`effective`, in place."""

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """Work arrays of the products for ``width`` samples of the networks ``lead`` side by side."""

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``out = B(theta; full)``, (N, K)."""

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``out = B_x dx``, (N, K)."""

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``out = B_x^T v``, (N, K)."""

    def variation(self, theta: Array, d_theta: Array, full: Array, out: Array, work: Work) -> None:
        """``out = B_theta d_theta``, (N, K)."""

    def gradient(self, theta: Array, v: Array, full: Array, out: Array, work: Work) -> None:
        """``out = sum_k B_theta^T v_k``, (rows, columns)."""

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
        """Derivative of adjoint and gradient along ``(d_theta, dx)`` at fixed ``v``, added to both.

        Args:
            theta: Effective parameters.
            d_theta: Their direction.
            v: Dual of ``z``, (N, K).
            dx: Direction of the states, (N, K).
            full: ``[x; 1]``.
            out_x: ``B_x_theta^T v d_theta`` is added here, (N, K).
            out_theta: ``sum_k`` of ``B_theta_x^T v dx + B_theta_theta^T v d_theta`` is added here.
            work: See :meth:`buffers`.
        """

    def prolongation(self, finer: Self) -> tuple[Sparse, Sparse]:
        """FE interpolation of the rows and of the columns to those of a coupling of a finer index.

        Each is sparse, (finer, here), or none where rows or columns stay as they are.

        Raises:
            InputError: There is none, as where neurons are points.
        """

    def matrix(self, theta: Array) -> Array:
        """``B_x`` as dense matrices (..., N, N), for direct solves with few neurons."""

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """Random start, constant in depth, into stored parameters ``out`` (n + 1, rows, columns).

        Args:
            random: Source of the numbers.
            deviation: Deviation of the entries of ``sqrt(N) B_x``: a state of independent entries gets
                a ``z`` that is so many times as long.
            out: Stored parameters.
        """
