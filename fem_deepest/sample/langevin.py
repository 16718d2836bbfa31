"""Langevin proposals with a theta-scheme, accepted by Metropolis and Hastings.

    dv = -N^{-1} (P v + Phi'(v)) dtau + sqrt(2) N^{-1/2} dW

leaves ``exp(-A)`` invariant for any symmetric ``N``; one step of size ``k`` is

    (N + k theta P) v' = (N - k (1 - theta) P) v - k Phi'(v) + sqrt(2 k) b,      b ~ N(0, N).

``N = P``: the prior is the preconditioner (infinity-MALA). ``N = M``: the stochastic heat equation with
white noise (SPDE-MALA). With ``d = v' - v``, ``s = v' + v``, ``g = Phi'(v)``, ``g' = Phi'(v')`` the ratio
is

    log r = Phi(v) - Phi(v') + 1/2 <d, g + g'> + k/4 <g - g', N^{-1} (P s + g + g')>
            + k/2 (theta - 1/2) <N^{-1} P d, P s + g + g'>.

All but the last term have limits in function space. It has the difference of the squared norms
``<P v, N^{-1} P v>``, which are infinite there, so that only ``theta = 1/2`` keeps its acceptance on fine
meshes. A. Beskos, G. Roberts, A. Stuart, J. Voss (2008), doi:10.1142/S0219493708002378.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.sample.kernel import State
from fem_deepest.sample.target import Gaussian, Target, inner
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class Preconditioner(Protocol):
    """The operator ``N``."""

    def move(self, v: Array, g: Array, z: Array, k: float, theta: float) -> Array:
        """One step of the theta-scheme with the standard normals ``z``."""

    def solve(self, r: Array) -> Array:
        """``N^{-1} r``."""


class ByPrior:
    """``N = P``.

    Args:
        prior: The Gaussian.
    """

    def __init__(self, prior: Gaussian) -> None:
        self._P = prior.precision

    def move(self, v: Array, g: Array, z: Array, k: float, theta: float) -> Array:
        """See :class:`Preconditioner`."""
        noise = np.sqrt(2.0 * k) * self._P.inverse_root(z)
        return ((1.0 - k * (1.0 - theta)) * v - k * self._P.solve(g) + noise) / (1.0 + k * theta)

    def solve(self, r: Array) -> Array:
        """``C r``."""
        return self._P.solve(r)


class ByMass:
    """``N = M``.

    Args:
        prior: The Gaussian.

    Raises:
        InputError: It has no mass matrix.
    """

    def __init__(self, prior: Gaussian) -> None:
        if prior.mass is None or not isinstance(prior.precision, Cholesky):
            raise InputError(
                "this target has no mass matrix, so white noise has no meaning on it; take the prior as "
                "preconditioner (infinity-MALA)"
            )
        self._P, self._M = prior.precision, prior.mass
        self._implicit: tuple[float, Cholesky] | None = None

    def move(self, v: Array, g: Array, z: Array, k: float, theta: float) -> Array:
        """See :class:`Preconditioner`."""
        if self._implicit is None or self._implicit[0] != k * theta:
            matrix = self._M.matrix + k * theta * self._P.matrix
            self._implicit = k * theta, Cholesky(matrix, "M + k theta P")
        rhs = self._M.apply(v) - k * (1.0 - theta) * self._P.apply(v) - k * g
        return self._implicit[1].solve(rhs + np.sqrt(2.0 * k) * self._M.root(z))

    def solve(self, r: Array) -> Array:
        """``M^{-1} r``."""
        return self._M.solve(r)


class Langevin:
    """Metropolis-adjusted Langevin kernel.

    Args:
        target: The measure.
        preconditioner: ``N``.
        step: ``k``.
        theta: Implicitness of the linear part: 1/2, or another to see it fail.
    """

    acceptance: ClassVar[float] = 0.574
    most = 2.0
    gradients = 1

    def __init__(
        self, target: Target, preconditioner: Preconditioner, step: float = 0.1, theta: float = 0.5
    ) -> None:
        if not 0.0 <= theta <= 1.0:
            raise InputError(f"theta is {theta}, expected a number from 0 to 1; take 1/2")
        self.target, self.step, self.theta = target, step, theta
        self._N = preconditioner

    def start(self, v: Array) -> State:
        """The state at a block."""
        return State(v, *self.target.gradient(v))

    def propose(self, state: State, z: Array) -> tuple[State, Array]:
        """See :class:`.Kernel`."""
        v, g, k, P = state.v, state.gradient, self.step, self.target.prior.precision
        assert g is not None
        new = self.start(self._N.move(v, g, z, k, self.theta))
        assert new.gradient is not None
        d, slope, bend = new.v - v, g + new.gradient, g - new.gradient
        riesz = self._N.solve(P.apply(new.v + v) + slope)
        if self.theta != 0.5:
            bend += 2.0 * (self.theta - 0.5) * P.apply(d)
        return new, log_ratio(k, state.potential - new.potential, d, slope, bend, riesz)


def log_ratio(
    k: float,
    drop: Array,
    d: Array,
    slope: Array,
    bend: Array,
    riesz: Array,
    inner: Callable[[Array, Array], Array] = inner,
) -> Array:
    """``log r`` of the module, (S,).

    The prior part cancels in the first two terms: they may as well be taken of ``A`` and ``A'``, and
    the third then has ``bend = A'(v) - A'(v') + 2 theta P d``.

    Args:
        k: Step.
        drop: ``Phi(v) - Phi(v')``, (S,).
        d: ``v' - v``.
        slope: ``g + g'``.
        bend: ``g - g' + 2 (theta - 1/2) P d``.
        riesz: ``N^{-1} (P s + g + g')``.
        inner: Pairing of two blocks, column by column.
    """
    return drop + 0.5 * inner(slope, d) + 0.25 * k * inner(bend, riesz)


def infinity_mala(target: Target, step: float = 0.2, theta: float = 0.5) -> Langevin:
    """Langevin kernel preconditioned by the prior."""
    return Langevin(target, ByPrior(target.prior), step, theta)


def spde_mala(target: Target, step: float = 0.1, theta: float = 0.5) -> Langevin:
    """Langevin kernel of the stochastic heat equation with white noise.

    Raises:
        InputError: The target has no mass matrix.
    """
    return Langevin(target, ByMass(target.prior), step, theta)
