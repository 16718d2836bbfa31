"""Hamiltonian Monte Carlo in function space."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.sample.kernel import State
from fem_deepest.sample.target import Target, inner

Array = NDArray[np.float64]


class HamiltonianMonteCarlo:
    """Velocities ``w ~ N(0, C)``, then ``v' = w``, ``w' = -v - C Phi'(v)`` by Strang's splitting.

    The linear part is a rotation of ``(v, w)``, solved exactly, and leaves the Gaussian part of the energy
    as it is; a kick ``w -> w - a C g`` changes it by ``-a <g, w> + a^2/2 <g, C g>``. Only these changes,
    which have limits in function space, and that of ``Phi`` are summed: energies of infinite size are
    never subtracted. A. Beskos, F. Pinski, J. Sanz-Serna, A. Stuart (2011), doi:10.1016/j.spa.2011.06.003.

    Args:
        target: The measure.
        step: Angle ``h`` of one rotation.
        steps: Rotations in one iteration.

    Raises:
        InputError: ``steps`` is not positive.
    """

    acceptance: ClassVar[float] = 0.8

    def __init__(self, target: Target, step: float = 0.2, steps: int = 3) -> None:
        if steps < 1:
            raise InputError(f"{steps} steps of HMC were asked for, expected 1 or more")
        self.target, self.step, self.steps = target, step, steps

    @property
    def most(self) -> float:
        """A quarter of a turn in all: after a half, a Gaussian mode is where it was, mirrored."""
        return 0.5 * np.pi / self.steps

    @property
    def gradients(self) -> int:
        """Gradients of ``Phi`` in one iteration."""
        return self.steps

    def start(self, v: Array) -> State:
        """The state at a block."""
        return State(v, *self.target.gradient(v))

    def propose(self, state: State, z: Array) -> tuple[State, Array]:
        """See :class:`.Kernel`."""
        C, h = self.target.prior.precision, self.step
        c, s = np.cos(h), np.sin(h)
        w, now = C.inverse_root(z), state
        energy = -state.potential
        for i in range(self.steps + 1):
            a = h if 0 < i < self.steps else 0.5 * h
            g = now.gradient
            assert g is not None
            kick = C.solve(g)
            energy += -a * inner(g, w) + 0.5 * a**2 * inner(g, kick)
            w = w - a * kick
            if i < self.steps:
                now, w = self.start(c * now.v + s * w), c * w - s * now.v
        return now, -(energy + now.potential)
