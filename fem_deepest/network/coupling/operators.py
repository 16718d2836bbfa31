"""Couplings by linear operators: ``z_c(s) = sum_{m,c'} w_{m,c,c'}(t,s) (D_m x_c')(s) + b_c(t,s)``.

With differential operators ``D_m`` it is local, the view of convolutional networks as partial
differential equations (Ruthotto, Haber 2020, doi:10.1007/s10851-019-00903-1); with these of
``(kappa^2 - Laplace)^{-1} x`` it reaches everywhere and is as sparse. Channels ``c`` mix at a node.

The sum over ``m`` comes first: the operators with their parameters are one stencil, whose number of
neighbours, and not the number of operators, is what a sample costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.protocol import Sparse, Work
from fem_deepest.spaces.elliptic import Screened
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.neurons import NeuronSpace
from fem_deepest.spaces.stencil import Stencils

Array = NDArray[np.float64]

_DENSE = 8192  # neurons up to which a dense matrix may be asked for


class ParameterSpace(Protocol):
    """What the operators of a coupling are numbered by, a space of functions."""

    space: NeuronSpace

    @property
    def factor(self) -> Factor:
        """Its mass and stiffness."""

    def prolongation(self, finer: Self) -> sparse.csr_matrix:
        """Interpolation to that of a finer index."""


class OperatorCoupling:
    """Parameters times operators; see :class:`.Coupling` for the methods.

    The parameters of a field, ``w_m(t,s)``, are (nodes, C (C M + 1)), those of uniform ones, ``w_m(t)``,
    (C, C M + 1): for every channel ``c`` the ``w_{m,c,c'}``, ``m`` running first, then ``b_c``. ``B`` is
    bilinear: the second derivative in the parameters alone vanishes. Nothing here is collective.

    Args:
        operators: ``D_m``, each (nodes, nodes).
        index: Neuron index, ``C`` its channels.
        uniform: The parameters are no fields.
        kernel: What uniform parameters are a function of, by default nothing with a geometry.
        screened: Elliptic solve before the operators.
        names: Of the operators, as mathematics; by default their numbers.
        text: What the parameters are.
        rows: Rows of the operators that are not zero, see :class:`.Stencils`.

    Attributes:
        rows: Factor of the rows.
        columns: Factor of the columns.
        features: ``C M``.
        names: Of the operators.
        probes: Random states that tell the size of an operator.
    """

    comm: MPI.Intracomm | None = None
    probes = 64

    def __init__(
        self,
        operators: Sequence[sparse.csr_array],
        index: NeuronSpace,
        *,
        uniform: bool,
        kernel: ParameterSpace | None = None,
        screened: Screened | None = None,
        names: Sequence[str] | None = None,
        text: str = "coefficients w and bias b",
        rows: int | None = None,
    ) -> None:
        self.operators, self.index, self.parameters_text = list(operators), index, text
        self.nodes, self.channels, self.neurons = index.nodes, index.channels, index.neurons
        self.features = self.channels * len(self.operators)
        self.uniform, self.kernel = uniform, kernel
        self.names = [str(m) for m in range(len(operators))] if names is None else list(names)
        if uniform:
            factor = Factor.plain(len(self.operators)) if kernel is None else kernel.factor
            self.rows = Factor.plain(self.channels)
            self.columns = Factor.sum([factor] * self.channels + [Factor.plain(1)])
        else:
            self.rows = index.factor.parts[0]  # V_S of one channel
            self.columns = Factor.plain(self.channels * (self.features + 1))
        self.shape = self.rows.size, self.columns.size
        self.screened = screened
        self._own_rows = rows

    @cached_property
    def stencils(self) -> Stencils:
        """What multiplies."""
        return Stencils(self.operators, self.channels, self._own_rows)

    def effective(self, theta: Array) -> Array:
        """``theta`` itself."""
        return theta

    def effective_transposed(self, g: Array) -> None:
        """Nothing to do."""

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """A stencil, ``[v; 1]`` and ``dv`` of an elliptic solve, and what stencils need."""
        stencil = np.empty(
            (*lead, self.nodes, self.channels, self.channels * self.stencils.size + 1)
        )
        solved: Work = (np.empty(0), np.empty(0))
        if self.screened:
            full = np.ones((*lead, self.neurons + 1, width))
            solved = full, np.empty((*lead, self.neurons, width))
        return (stencil, *solved, *self.stencils.buffers(width, lead))

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``sum_m w_m D_m x + b``."""
        stencil = self._own(work[0])
        self._combine(theta, stencil)
        self.stencils.apply(stencil, self._entered_full(full, work), out, work[3:])

    def variation(self, theta: Array, d_theta: Array, full: Array, out: Array, work: Work) -> None:
        """``sum_m dw_m D_m x + db``."""
        self.value(d_theta, full, out, work)

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``sum_m w_m D_m dx``."""
        stencil = self._own(work[0])
        self._combine(theta, stencil)
        self.stencils.apply(stencil[..., :-1], self._entered(dx, work), out, work[3:])

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``sum_m D_m^T (w_m v)``."""
        stencil = work[0]
        self._combine(theta, stencil)
        self.stencils.apply_transposed(stencil, v, out, work[3:])
        if self.screened:
            self.screened.transposed(out, out)

    def gradient(self, theta: Array, v: Array, full: Array, out: Array, work: Work) -> None:
        """``sum_k v D_m x`` at every node, or summed over the nodes."""
        stencil = self._own(work[0])
        self.stencils.outer(v, self._entered_full(full, work), stencil, work[3:])
        self._combine_transposed(stencil[..., :-1], self._matrices(out)[..., :-1])
        bias = stencil[..., -1]
        self._matrices(out)[..., -1] = bias.sum(axis=-2) if self.uniform else bias

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
        """``out_x += sum_m D_m^T (dw_m v)``, ``out_theta += sum_k v D_m dx``."""
        adjoint = np.empty_like(out_x)
        self.adjoint(d_theta, v, adjoint, work)
        out_x += adjoint
        target = self._matrices(out_theta)[..., :-1]
        product = np.empty_like(target)
        self._outer(v, dx, product, work)
        target += product

    def _outer(self, v: Array, dx: Array, out: Array, work: Work) -> None:
        """``sum_k v D_m dx`` into the coefficients, (..., C, C M)."""
        stencil = self._own(work[0])
        self.stencils.outer(v, self._entered(dx, work), stencil[..., :-1], work[3:])
        self._combine_transposed(stencil[..., :-1], out)

    def prolongation(self, finer: OperatorCoupling) -> tuple[Sparse, Sparse]:
        """Fields are interpolated along the index, a kernel along its offsets; others stay.

        The operators of the finer index are other approximations of the same ones: a prolonged network
        is the same to the order of the elements only.
        """
        states = self.index.prolongation(finer.index)
        if not self.uniform:
            # One channel of the states.
            return states if states is None else states[: finer.nodes, : self.nodes], None
        if self.kernel is None or finer.kernel is None:
            return None, None
        one = self.kernel.prolongation(finer.kernel)
        return None, sparse.block_diag([one] * self.channels + [np.ones((1, 1))], format="csr")

    def fields(self, theta: Array) -> tuple[Array, list[str]]:
        """Parameters (m, rows, columns) one by one: (fields, m, nodes), and what each is of.

        Of uniform ones there is one value in place of those at the nodes, of a kernel those at its
        offsets; the biases come last. Channels are numbered from 1.
        """
        matrices = np.moveaxis(self._matrices(theta), 1, -1) if not self.uniform else None
        c, m = self.channels, len(self.operators)
        if matrices is None:
            matrices = self._matrices(theta)[..., None]
        weights = matrices[:, :, :-1].reshape(len(theta), c, c, m, -1)
        pairs = [(i, k) for i in range(c) for k in range(c)]
        between = {p: "" if c == 1 else f", {p[1] + 1} to {p[0] + 1}" for p in pairs}
        if self.kernel is not None:
            fields = [weights[:, i, k, :, 0] for i, k in pairs]
            return np.stack(fields), [f"$w${between[p]}" for p in pairs]
        fields = [weights[:, i, k, j] for i, k in pairs for j in range(m)]
        names = [f"$w_{{{name}}}$" + between[p] for p in pairs for name in self.names]
        fields += [matrices[:, i, -1] for i in range(c)]
        names += ["$b$" if c == 1 else f"$b$, {i + 1}" for i in range(c)]
        return np.stack(fields), names

    def matrix(self, theta: Array) -> Array:
        """``sum_m w_m D_m`` as dense matrices (..., N, N).

        Raises:
            InputError: They would take too much memory.
        """
        n, lead = self.neurons, theta.shape[:-2]
        if n > _DENSE:
            raise InputError(
                f"a dense matrix of {n} neurons takes {n * n * 8 / 2**30:.1f} GiB for every depth cell, "
                "and this method needs one: take an explicit scheme (network.scheme = 'rk2') or "
                "fewer neurons"
            )
        states, dense = np.empty((*lead, n, n)), np.empty((*lead, n, n))
        states[...] = np.eye(n)
        self.tangent(theta, states, dense, self.buffers(n, lead))
        return dense

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """Gaussian coefficients, constant in depth and along the index; no bias.

        Each is divided by the size of its operator, so that all operators have an equal part.
        """
        scale = deviation / np.sqrt(self.features)
        weights = random.standard_normal((self.channels, self.channels, len(self.operators)))
        weights *= scale / self._sizes()
        out[...] = 0.0
        self._matrices(out)[..., :-1] = weights.reshape(self.channels, -1)

    def _sizes(self) -> Array:
        """Root mean square of ``D_m x`` for states of independent entries of variance 1, (M,)."""
        states = np.random.default_rng(0).standard_normal((self.nodes, self.probes))
        if self.screened:
            self.screened.apply(states, states)
        sizes = [float(np.sqrt(np.mean((d @ states) ** 2))) for d in self.operators]
        return np.array([size or 1.0 for size in sizes])

    def _matrices(self, theta: Array) -> Array:
        """Parameters as one matrix (C, C M + 1), or one at each node."""
        shape = self.channels, self.features + 1
        return theta.reshape(*theta.shape[:-2], *(shape if self.uniform else (self.nodes, *shape)))

    def _combine(self, theta: Array, stencil: Array) -> None:
        """``A = sum_m w_m D_m`` with the bias as the constant."""
        matrices, c, m = self._matrices(theta), self.channels, len(self.operators)
        stencil[..., -1] = matrices[..., None, :, -1] if self.uniform else matrices[..., -1]
        target = stencil[..., :-1]
        weights = matrices[..., :-1]
        weights = weights.reshape(*weights.shape[:-1], c, m)
        target = target.reshape(*target.shape[:-1], c, self.stencils.size)
        if not self.uniform:
            np.einsum("...scdm,smj->...scdj", weights, self.stencils.values, out=target)
            return
        lead = theta.shape[:-2]
        pairs = self.stencils.columns.T @ weights.reshape(-1, m).T  # (nodes J, lead C C)
        pairs = pairs.reshape(self.nodes, self.stencils.size, *lead, c, c)
        target[...] = np.moveaxis(pairs, (0, 1), (-4, -1))

    def _combine_transposed(self, stencil: Array, out: Array) -> None:
        """Transpose of :meth:`_combine` without the bias, written to ``out`` (..., C, C M)."""
        c, m, j = self.channels, len(self.operators), self.stencils.size
        source = stencil.reshape(*stencil.shape[:-1], c, j)
        if not self.uniform:
            product = np.einsum("...scdj,smj->...scdm", source, self.stencils.values)
        else:
            lead = stencil.shape[:-3]
            pairs = np.moveaxis(source, -4, -2).reshape(-1, self.nodes * j)  # (lead C C, nodes J)
            product = (self.stencils.columns @ pairs.T).T.reshape(*lead, c, c, m)
        out[...] = product.reshape(out.shape)

    def _own(self, stencil: Array) -> Array:
        """The part of a stencil that belongs to fields of this rank."""
        return stencil

    def _entered_full(self, full: Array, work: Work) -> Array:
        """``[x; 1]``, after the elliptic solve if there is one."""
        if self.screened:
            self.screened.apply(full[..., :-1, :], work[1][..., :-1, :])
            return work[1]
        return full

    def _entered(self, x: Array, work: Work) -> Array:
        """``x``, after the elliptic solve if there is one."""
        if self.screened:
            self.screened.apply(x, work[2])
            return work[2]
        return x
