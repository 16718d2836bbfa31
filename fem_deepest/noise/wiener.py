"""``Q``-Wiener processes by their increments.

    W(t + dt) - W(t)  has the law  N(0, dt Q),      Q = C M,

independent of all before. An increment is a function of the seed, the number of the step and the sample
alone. A coarse step of a path is the sum of its fine steps, so that coarse and fine time grids see one
path: with ``substeps = m`` step ``n`` is made of the steps ``n m .. n m + m - 1`` of length ``dt/m``.
Coarse and fine meshes see one path when the load of the fine one is restricted: ``P^T`` times it is the
increment tested with coarse functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.spaces.quadrature import Rule

Array = NDArray[np.float64]

BRIDGE = 2**31  # streams of Brownian bridges have this bit


class QWiener:
    """``W`` with a covariance, driven by white noise on the same space.

    Args:
        covariance: ``C``.
        white: White noise on the same space; its seed and stream name the path.
        substeps: Fine steps of which a step is the sum.

    Raises:
        InputError: The spaces differ, the number of substeps is not positive, or the white noise is lumped
            where the covariance wants loads ``N(0, M)``.

    Collective: construction and every method but ``beta``.
    """

    def __init__(self, covariance: Covariance, white: WhiteNoise, substeps: int = 1) -> None:
        if covariance.V is not white.V and covariance.V != white.V:
            raise InputError(
                "the covariance and the white noise live on two spaces, expected one; make both with the "
                "same function space"
            )
        if substeps < 1:
            raise InputError(f"{substeps} substeps were given, expected a positive number of them")
        self.is_white = isinstance(covariance, WhiteCovariance)
        if white.lumped != covariance.lumped:
            raise InputError(
                f"white noise with lumped = {white.lumped} was given to a covariance that expects lumped "
                f"= {covariance.lumped}; use the same mass matrix in both"
            )
        self.covariance, self.white, self.substeps = covariance, white, substeps

    def increment(self, step: int, dt: float, samples: Sequence[int] = (0,)) -> Increment:
        """``W((step + 1) dt) - W(step dt)``.

        Args:
            step: Number of the step.
            dt: Its length.
            samples: Numbers of the samples, one column each.

        Raises:
            InputError: The length is not positive, or the step is negative.
        """
        if not 0.0 < dt < np.inf or step < 0:
            raise InputError(
                f"step {step} of length {dt:g} was given, expected a number from 0 and a positive length"
            )
        first = step * self.substeps
        return Increment(
            self, range(first, first + self.substeps), dt / self.substeps, tuple(samples)
        )

    def coarse(self, ratio: int) -> QWiener:
        """The same path on a time grid with steps ``ratio`` times as long."""
        return QWiener(self.covariance, self.white, self.substeps * ratio)

    def bridge(self) -> QWiener:
        """An independent process of the same law, for Brownian bridges between the steps of this one."""
        white = self.white
        other = WhiteNoise(white.V, white.seed, white.stream ^ BRIDGE, white.lumped)
        return QWiener(self.covariance, other)

    @property
    def quadrature(self) -> Rule:
        """Points of :attr:`Increment.points`."""
        return self.white.quadrature

    def trace(self) -> float:
        """``tr Q``; see :class:`Covariance`."""
        return self.covariance.trace()

    def beta(self, d: int | None = None) -> float:
        """Regularity number; see :class:`Covariance`."""
        return self.covariance.beta(d)


class Increment:
    """Increment of a Wiener process over some fine steps.

    What is asked for is computed once and kept: the arrays are not to be changed.

    Args:
        wiener: The process.
        steps: Numbers of the fine steps.
        dt: Length of a fine step.
        samples: Numbers of the samples.

    Collective: the properties.
    """

    def __init__(self, wiener: QWiener, steps: range, dt: float, samples: tuple[int, ...]) -> None:
        self._wiener, self._steps, self._dt, self._samples = wiener, steps, dt, samples

    @property
    def dt(self) -> float:
        """Length of the step."""
        return self._dt * len(self._steps)

    @cached_property
    def driver(self) -> Array:
        """Sum of the drivers of the fine steps; see :meth:`Covariance.driver`."""
        return self._sum(partial(self._wiener.covariance.driver, self._wiener.white))

    @cached_property
    def load(self) -> Array:
        """``int phi_i dW``, (owned, S)."""
        return self._wiener.covariance.load(self.driver)

    @cached_property
    def field(self) -> Array:
        """The increment as a field of the space, (owned, S)."""
        return self._wiener.covariance.apply_sqrt(self.driver)

    @cached_property
    def points(self) -> Array:
        """Values at the points of the white noise's rule, (points * components, S).

        For white noise they are independent, with variance ``dt / w_q``.
        """
        if self._wiener.is_white:
            return self._sum(self._wiener.white.points)
        return self._wiener.white.quadrature.evaluate(self.field)

    def __add__(self, later: Increment) -> Increment:
        """The increment over two steps that follow each other."""
        same = later._wiener is self._wiener and later._samples == self._samples
        if not same or later._dt != self._dt or later._steps.start != self._steps.stop:
            raise InputError(
                f"fine steps {self._steps} and {later._steps} were added, expected steps of one path that "
                "follow each other, of one length and with the same samples"
            )
        both = range(self._steps.start, later._steps.stop)
        return Increment(self._wiener, both, self._dt, self._samples)

    def _sum(self, draw: Callable[[int, float, Sequence[int]], Array]) -> Array:
        first, *rest = self._steps
        total = draw(first, self._dt, self._samples)
        for step in rest:
            total += draw(step, self._dt, self._samples)
        return total
