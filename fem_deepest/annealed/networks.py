"""Networks as a landscape: the action of many weights at once, on one rank.

The metric is that of :class:`fem_deepest.action.network.prior.Prior`. Where it does not couple neurons
(``ell = 0`` and a lumped mass) it is a tridiagonal matrix in depth times a diagonal one, and diagonal on
readout, lift and forcings, so the blocks need only its small factor in depth, its inverse and a root of
that:

    P = P_t (x) D,      C = P_t^{-1} (x) D^{-1},      C^{1/2} = L_t^{-T} (x) D^{-1/2},     P_t = L_t L_t^T.

Else the separable solves of the prior serve all columns of a block together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.forced import ForcedReplicas
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.errors import NumericalFailure
from fem_deepest.noise.philox import normals
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]


class NetworkLandscape:
    """``A(w)``, or ``A(w, xi)`` with finite ``R_f`` or ``R_0``, of a network on blocks.

    The normals of a draw are named by the number of the unknown. What overflows is infinite, and where an
    implicit stage has no solution the action is no number; the other columns do not notice.

    Args:
        action: The action, on one rank.

    Attributes:
        action: The action.
        weights: Unknowns that are weights; they are the first ones.

    Raises:
        InputError: The action is spread over ranks.

    Nothing here is collective.
    """

    comm = MPI.COMM_SELF

    def __init__(self, action: NetworkAction) -> None:
        self.action, self._replicas = action, ForcedReplicas(action)
        self.weights = action.space.parameter_size
        shape = action.network.shapes.theta
        self._nodes, self._fields, self._prior = shape[0], int(np.prod(shape)), action.metric
        diagonal, off = self._prior.field.depth
        self._depth = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
        self._inverse: Array = np.linalg.inv(self._depth).astype(np.float64)
        self._root: Array = np.linalg.inv(np.linalg.cholesky(self._depth)).T.astype(np.float64)
        # D in the order of the unknowns of one depth node; the rest of P follows it.
        self._columns = self._prior.field.measure.ravel()
        self._unit = bool(np.all(self._columns == 1.0))
        ones, image = action.create(), action.create()
        ones.array[self._fields :] = 1.0
        action.metric.apply(ones, image)
        self._rest = image.array_r[self._fields :].copy()
        for vec in (ones, image):
            vec.destroy()
        self._keys = np.arange(self.rows, dtype=np.uint64)

    @property
    def rows(self) -> int:
        """Unknowns of a network."""
        return self._replicas.size

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        return self._tried(_rows(U), lambda w: (self._replicas.value(w).action,))[0]

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""

        def gradient(w: Array) -> tuple[Array, ...]:
            parts, slope = self._replicas.gradient(w)
            return parts.action, slope

        values, slopes = self._tried(_rows(U), gradient)
        return values, slopes.T

    def score(self, U: Array) -> Array:
        """Fraction of samples classified rightly, or root mean square error, (S,)."""
        scores = self._replicas.value(_rows(U)).score
        loss, outputs = self.action.loss, self.action.network.outputs
        return np.array([loss.score(float(s), self.action.samples, outputs) for s in scores])

    def apply(self, D: Array) -> Array:
        """See :class:`.Landscape`."""
        if not self._prior.is_diagonal:
            return self._separable(D, self._prior.on_parameters, self._rest)
        return self._mapped(D, self._depth, self._columns, self._rest)

    def solve(self, R: Array) -> Array:
        """See :class:`.Landscape`."""
        columns, rest = np.divide(1.0, self._columns), np.divide(1.0, self._rest)
        if not self._prior.is_diagonal:
            return self._separable(R, self._prior.solve_parameters, rest)
        return self._mapped(R, self._inverse, columns, rest)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Landscape`."""
        z = normals(seed, self._keys, step, stream, np.asarray(numbers, dtype=np.int64))
        columns, rest = (np.divide(1.0, np.sqrt(d)) for d in (self._columns, self._rest))
        if not self._prior.is_diagonal:
            return self._separable(z, self._prior.root_parameters, rest)
        return self._mapped(z, self._root, columns, rest)

    def inner(self, a: Array, b: Array) -> Array:
        """See :class:`.Landscape`."""
        return np.asarray(np.einsum("is,is->s", a, b))

    def _tried(self, w: Array, evaluate: Callable[[Array], tuple[Array, ...]]) -> tuple[Array, ...]:
        """What ``evaluate`` gives of rows (B, n); no numbers for those where it fails alone."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return evaluate(w)
        except NumericalFailure:
            if len(w) == 1:
                return np.full(1, np.nan), np.full(w.shape, np.nan)
        half = len(w) // 2
        parts = [self._tried(part, evaluate) for part in (w[:half], w[half:])]
        return tuple(np.concatenate(both) for both in zip(*parts, strict=False))

    def _mapped(self, block: Array, depth: Array, columns: Array, rest: Array) -> Array:
        """A matrix in depth times a diagonal one, and a diagonal one on the rest."""
        fields, image = self._fields, np.empty(block.shape)
        image[:fields] = (depth @ block[:fields].reshape(self._nodes, -1)).reshape(fields, -1)
        if not self._unit:
            image[:fields].reshape(self._nodes, columns.size, -1)[...] *= columns[:, None]
        np.multiply(rest[:, None], block[fields:], out=image[fields:])
        return image

    def _separable(
        self, block: Array, operation: Callable[[Parameters, Parameters], None], rest: Array
    ) -> Array:
        """An operation of the prior on the parameters, and a diagonal one on the forcings."""
        rows, size, shapes = _rows(block), self.weights, self.action.network.shapes
        image = np.empty(rows.shape)
        operation(*(Parameters.view(a[:, :size], shapes) for a in (rows, image)))
        np.multiply(rest[size - self._fields :], rows[:, size:], out=image[:, size:])
        return np.ascontiguousarray(image.T)


def _rows(U: Array) -> Array:
    return np.ascontiguousarray(U.T)
