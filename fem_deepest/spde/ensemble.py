"""Many samples of an SPDE, stepped side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.advance import attempt
from fem_deepest.spde.path import NEAR, WienerPath
from fem_deepest.spde.schemes.scheme import Scheme, check_step

Array = NDArray[np.float64]


class State(NamedTuple):
    """What a restart needs.

    Attributes:
        step: Number of steps done.
        block: The samples, (owned, S).
    """

    step: int
    block: Array


class Ensemble:
    """``S`` samples of the solution; a path is that of its sample number, whatever the others are.

    Args:
        scheme: Time scheme with its problem.
        dt: Length of a step.
        samples: Numbers of the samples.
        start: Where to start: a state of an earlier run, or the initial value of the problem.
        rejections: How often a step may be halved; any number if negative.
        refine: Whether it may be halved at all; not where the path is shared with other step sizes.

    Attributes:
        U: The samples now, (owned, S).
        step: Number of steps done.
        rejected: Number of steps rejected.

    Raises:
        InputError: ``dt`` is not positive, or the start has another number of samples.

    Collective on the mesh: construction and every method.
    """

    def __init__(
        self,
        scheme: Scheme,
        dt: float,
        samples: Sequence[int] = (0,),
        *,
        start: State | None = None,
        rejections: int = 10,
        refine: bool = True,
    ) -> None:
        check_step(dt)
        self.scheme, self.dt, self.samples = scheme, dt, samples
        self.path = WienerPath(scheme.problem.noise, dt, samples, refine=refine)
        self._rejections, self.rejected = rejections, 0
        self.step, self.U = start or State(0, scheme.problem.start(len(samples)))
        expected = (scheme.problem.blocks.owned, len(samples))
        if self.U.shape != expected:
            raise InputError(
                f"the state to start from has shape {self.U.shape}, expected {expected}: one column for "
                "each sample"
            )

    @property
    def time(self) -> float:
        """Time reached."""
        return self.step * self.dt

    @property
    def state(self) -> State:
        """What a restart needs; the block is a copy."""
        return State(self.step, self.U.copy())

    def advance(self, steps: int = 1) -> Array:
        """Take steps of length ``dt``; returns the samples.

        Raises:
            NotConverged: A step failed; the state is that before it.
            NumericalFailure: A sample is not finite; the state is that before it.
        """
        for _ in range(steps):
            U, t, end = self.U, self.time, (self.step + 1) * self.dt
            while t < end - NEAR * self.dt:
                U, t, rejected = attempt(
                    self.scheme, self.path, U, t, self.path.next(t), self._rejections
                )
                self.rejected += rejected
            self.U, self.step = U, self.step + 1
        return self.U
