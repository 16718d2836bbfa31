"""Random walks: preconditioned Crank-Nicolson, and the one that does not know of the prior."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fem_deepest.sample.kernel import State
from fem_deepest.sample.target import Target, inner

Array = NDArray[np.float64]


class PreconditionedCrankNicolson:
    """``v' = sqrt(1 - beta^2) v + beta xi``, ``xi ~ N(0, C)``: reversible for the prior.

    The ratio ``exp(Phi(v) - Phi(v'))`` has a limit in function space, so the acceptance does not depend
    on the mesh. S. Cotter, G. Roberts, A. Stuart, D. White (2013), doi:10.1214/13-STS421.

    Args:
        target: The measure.
        step: ``beta``, at most 1.
    """

    acceptance: ClassVar[float] = 0.3
    most = 1.0
    gradients = 0

    def __init__(self, target: Target, step: float = 0.2) -> None:
        self.target, self.step = target, step

    def start(self, v: Array) -> State:
        """The state at a block."""
        return State(v, self.target.potential(v))

    def propose(self, state: State, z: Array) -> tuple[State, Array]:
        """See :class:`.Kernel`."""
        xi = self.target.prior.precision.inverse_root(z)
        new = self.start(np.sqrt(1.0 - self.step**2) * state.v + self.step * xi)
        return new, state.potential - new.potential


class RandomWalk:
    """``v' = v + beta xi``, ``xi ~ N(0, C)``: the walk of the textbooks, for comparison.

    The ratio has the increment of ``1/2 <v, P v>``, of standard deviation ``beta sqrt(n)``: the acceptance
    falls to zero on fine meshes.

    Args:
        target: The measure.
        step: ``beta``.
    """

    acceptance: ClassVar[float] = 0.234
    most = np.inf
    gradients = 0

    def __init__(self, target: Target, step: float = 0.2) -> None:
        self.target, self.step = target, step

    def start(self, v: Array) -> State:
        """The state at a block."""
        return State(v, self.target.potential(v))

    def propose(self, state: State, z: Array) -> tuple[State, Array]:
        """See :class:`.Kernel`."""
        P = self.target.prior.precision
        move = self.step * P.inverse_root(z)
        new = self.start(state.v + move)
        change = 0.5 * inner(move, P.apply(new.v + state.v))
        return new, state.potential - new.potential - change
