"""Couplings by operators whose neuron index is spread over ranks: an exchange of ghosts, then stencils.

``z = sum_m w_m D_m x + b`` at the nodes of a rank needs ``x`` at its nodes and their ghosts, and the
parameters at its nodes alone. The transposed product ``D_m^T (w_m v)`` has values at the ghosts too, which
are added to those of their owners. Each product is one exchange, of O((N/P)^(1/2)) rows in the plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.differential import check_screening, operators, symbols
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.coupling.protocol import Sparse, Work
from fem_deepest.spaces.spread import SpreadSpace
from fem_deepest.spaces.spread_elliptic import SpreadScreened

Array = NDArray[np.float64]

_TOGETHER = 4096  # rows of random states drawn at a time


class SpreadOperators(OperatorCoupling):
    """Fields of parameters times operators, at the nodes of a rank; see :class:`.OperatorCoupling`.

    Args:
        matrices: ``D_m``, each (owned, local), see :class:`.SpreadField`.
        index: Neuron index, spread over ranks.
        names: Of the operators, as mathematics.
        text: What the parameters are.
        screened: Elliptic solve before the operators.

    The products are collective on the ranks of the index.
    """

    index: SpreadSpace
    comm: MPI.Intracomm

    def __init__(
        self,
        matrices: Sequence[sparse.csr_array],
        index: SpreadSpace,
        *,
        names: Sequence[str],
        text: str,
        screened: SpreadScreened | None = None,
    ) -> None:
        super().__init__(
            [_square(matrix, index.ghosts.local) for matrix in matrices],
            index,
            uniform=False,
            names=names,
            text=text,
            screened=screened,
            rows=index.nodes,
        )
        self.comm, self.ghosts = index.comm, index.ghosts

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """A stencil with zeros at the ghosts, states with ghosts, other states, and what stencils need."""
        c, local = self.channels, self.ghosts.local
        return (
            np.zeros((*lead, local, c, c * self.stencils.size + 1)),
            np.ones((*lead, c * local + 1, width)),
            np.empty((*lead, c * local, width)),
            *self.stencils.buffers(width, lead),
        )

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``sum_m D_m^T (w_m v)``."""
        stencil, dual, image = work[0], work[1][..., :-1, :], work[2]
        self._combine(theta, self._own(stencil))
        fields = self._fields(dual, self.ghosts.local)
        fields[..., self.nodes :, :] = 0.0
        fields[..., : self.nodes, :] = self._fields(v, self.nodes)
        self.stencils.apply_transposed(stencil, dual, image, work[3:])
        fields = self._fields(image, self.ghosts.local)
        self.ghosts.add(fields)
        self._fields(out, self.nodes)[...] = fields[..., : self.nodes, :]
        if self.screened:
            self.screened.transposed(out, out)

    def prolongation(self, finer: OperatorCoupling) -> tuple[Sparse, Sparse]:
        """None to a coupling of the same nodes; others are refused.

        Raises:
            InputError: The nodes differ.
        """
        self.index.prolongation(finer.index)
        return None, None

    def matrix(self, theta: Array) -> Array:
        """Dense matrices of a spread index are on no rank.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "a dense matrix of a coupling that is spread over ranks was asked for; take an explicit "
            "scheme (network.scheme = 'rk2'), or an index that is not spread"
        )

    def _own(self, stencil: Array) -> Array:
        return stencil[..., : self.nodes, :, :]

    def _fields(self, x: Array, nodes: int) -> Array:
        """The fields of a state one by one, (..., channels, nodes, K), a view."""
        return x.reshape(*x.shape[:-2], self.channels, nodes, x.shape[-1])

    def _entered_full(self, full: Array, work: Work) -> Array:
        self._entered(full[..., :-1, :], work)
        work[1][..., -1, :] = full[..., -1, :]
        return work[1]

    def _entered(self, x: Array, work: Work) -> Array:
        """``x``, after the elliptic solve if there is one, with its ghosts."""
        if self.screened:
            solved = np.empty(x.shape)
            self.screened.apply(x, solved)
            x = solved
        state = work[1][..., :-1, :]
        fields = self._fields(state, self.ghosts.local)
        fields[..., : self.nodes, :] = self._fields(x, self.nodes)
        self.ghosts.fill(fields)
        return state

    def _sizes(self) -> Array:
        """As on one rank, of the same random states."""
        known = np.full((self.ghosts.local, 1), np.nan)
        known[: self.nodes, 0] = self.index.number
        self.ghosts.fill(known)
        number = known[:, 0].astype(np.int64)
        random, states = np.random.default_rng(0), np.empty((number.size, self.probes))
        for start in range(0, self.index.size, _TOGETHER):
            rows = random.standard_normal((min(_TOGETHER, self.index.size - start), self.probes))
            here = np.flatnonzero((number >= start) & (number < start + len(rows)))
            states[here] = rows[number[here] - start]
        if self.screened:
            self.screened.apply(states[: self.nodes].copy(), states[: self.nodes])
            self.ghosts.fill(states)
        squares = [np.sum((d[: self.nodes] @ states) ** 2) for d in self.operators]
        sums = self.comm.allreduce(np.array(squares), op=MPI.SUM)
        sizes = np.sqrt(sums / (self.index.size * self.probes))
        return np.where(sizes > 0.0, sizes, 1.0)


def spread_local(index: SpreadSpace, names: Sequence[str]) -> SpreadOperators:
    """Local coupling by differential operators on an index that is spread over ranks.

    Args:
        index: Neuron index.
        names: Of ``D_m``, see :meth:`.NeuronSpace.operator`.

    Raises:
        InputError: An operator is named twice, or none, or the index does not have it.

    Collective on the ranks of the index.
    """
    return SpreadOperators(
        operators(index, names),
        index,
        names=symbols(index, names),
        text=f"coefficients w of {', '.join(names)} and bias b",
    )


def spread_elliptic(index: SpreadSpace, names: Sequence[str], kappa: float) -> SpreadOperators:
    """Non-local coupling by differential operators of ``v``, ``(kappa^2 - Laplace) v = x``, likewise.

    Args:
        index: Neuron index.
        names: Of ``D_m``, see :meth:`.NeuronSpace.operator`.
        kappa: ``kappa > 0``; the coupling reaches about ``1/kappa``.

    Raises:
        InputError: As :func:`spread_local`, or ``kappa`` is not positive.

    Collective on the ranks of the index.
    """
    check_screening(kappa)
    return SpreadOperators(
        operators(index, names),
        index,
        names=symbols(index, names),
        text=f"coefficients w of {', '.join(names)} and bias b",
        screened=SpreadScreened(index, kappa),
    )


def _square(matrix: sparse.csr_array, local: int) -> sparse.csr_array:
    """With rows of zeros for the ghosts."""
    square = sparse.csr_array(matrix, copy=True)
    square.resize((local, local))
    return square
