"""One Wiener path per sample, on a grid of equal steps that may be refined where a step fails.

The path has increments ``D`` on the grid ``n dt``. If a step from ``a`` to ``c`` has to be split at ``b``,
its increment is kept and divided by a Brownian bridge,

    D_ab = (b - a)/(c - a) D_ac + Z,     D_bc = D_ac - D_ab,     Z ~ N(0, (b - a)(c - b)/(c - a) Q),

with ``Z`` independent of all that was drawn before. Then ``D_ab`` and ``D_bc`` are independent increments
of the same process, and their sum is ``D_ac`` exactly: the path is refined, not redrawn. (A step that is
tried again with fresh noise would favour increments for which the solver converges, which changes the
law.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

# Splits of one step of the grid; the normals of a bridge have the number step * _SPLITS + split.
_SPLITS = 2**10
NEAR = 1e-7  # of a step: times closer than this are the same


class Combination:
    """A linear combination of increments; has what an increment has.

    Args:
        parts: Weights and increments.

    Collective: every property.
    """

    def __init__(self, *parts: tuple[float, Any]) -> None:
        self._parts = parts

    @cached_property
    def load(self) -> Array:
        """``int phi_i dW``, (owned, S)."""
        return self._sum("load")

    @cached_property
    def field(self) -> Array:
        """Coefficients, (owned, S)."""
        return self._sum("field")

    @cached_property
    def points(self) -> Array:
        """Values at the quadrature points, (points, S)."""
        return self._sum("points")

    @cached_property
    def modes(self) -> Array:
        """Increments of the modes of a process of finite rank, (J, S)."""
        return self._sum("modes")

    def _sum(self, name: str) -> Array:
        return sum(weight * getattr(part, name) for weight, part in self._parts)  # type: ignore[return-value]


class WienerPath:
    """Increments of a Wiener process between any two times of one step of a grid.

    Args:
        noise: Process with ``increment(step, dt, samples)``, or None: then there are no increments.
        dt: Step of the grid.
        samples: Numbers of the samples.
        refine: Whether steps may be split, for which ``noise.bridge()`` gives a process of the same law
            and another stream. A path that is shared with other step sizes must not be.

    Attributes:
        dt: Step of the grid.
        samples: Numbers of the samples.
        refine: Whether steps may be split.

    Raises:
        InputError: ``dt`` is not positive.

    :meth:`increment` is collective.
    """

    def __init__(
        self, noise: Any, dt: float, samples: Sequence[int] = (0,), *, refine: bool = True
    ) -> None:
        if not 0.0 < dt < np.inf:
            raise InputError(f"dt = {dt:g}; expected a positive length of step")
        self.dt, self.samples, self.refine = dt, samples, refine
        self._noise = noise
        self._step, self._splits = -1, 0
        # The current step in parts: ends relative to its start in units of dt, and the increments.
        self._knots: list[float] = [0.0, 1.0]
        self._parts: list[Any] = [None]

    def next(self, t: float) -> float:
        """The first time after ``t`` at which the path is known."""
        step, s = self._locate(t)
        self._enter(step)
        return self._time(next(knot for knot in self._knots if knot > s + NEAR))

    def length(self, t: float, end: float) -> float:
        """``end - t`` without rounding of the times: equal parts have equal lengths."""
        step, s = self._locate(t)
        self._enter(step)
        knots = self._knots
        return (knots[self._number(end / self.dt - step)] - knots[self._number(s)]) * self.dt

    def split(self, t: float, end: float, at: float | None = None) -> float:
        """Make the path known between two neighbouring times, by default in the middle; returns where.

        Raises:
            InputError: The path must not be refined, or was refined too often.
        """
        if not self.refine:
            raise InputError(
                f"a step from {t:g} to {end:g} is wanted, but the path is known at the multiples of dt = "
                f"{self.dt:g} only; take fixed steps, or a path with refine=True"
            )
        step, a = self._locate(t)
        self._enter(step)
        i = self._number(a)
        a, c = self._knots[i], self._knots[i + 1]
        b = 0.5 * (a + c) if at is None else at / self.dt - step
        if not a + NEAR < b < c - NEAR or self._splits == _SPLITS:
            raise InputError(
                f"the path cannot be split at {self._time(b):g} between {self._time(a):g} and "
                f"{self._time(c):g}; a step of {self.dt:g} can be split {_SPLITS} times"
            )
        whole, share = self._parts[i], (b - a) / (c - a)
        if whole is None and self._noise is not None:
            whole = self._noise.increment(step, self.dt, self.samples)
        if whole is None:
            parts: list[Any] = [None, None]
        else:
            variance = self.dt * (b - a) * (c - b) / (c - a)
            number = step * _SPLITS + self._splits
            Z = self._bridge.increment(number, variance, self.samples)
            parts = [
                Combination((share, whole), (1.0, Z)),
                Combination((1.0 - share, whole), (-1.0, Z)),
            ]
        self._splits += 1
        self._knots.insert(i + 1, b)
        self._parts[i : i + 1] = parts
        return self._time(b)

    def increment(self, t: float, end: float) -> Any:
        """The increment from ``t`` to ``end``, both known times of one step of the grid."""
        if self._noise is None:
            return None
        step, s = self._locate(t)
        self._enter(step)
        i, j = self._number(s), self._number(end / self.dt - step)
        if self._parts[0] is None:
            self._parts[0] = self._noise.increment(step, self.dt, self.samples)
        parts = self._parts[i:j]
        return parts[0] if len(parts) == 1 else Combination(*((1.0, part) for part in parts))

    @cached_property
    def _bridge(self) -> Any:
        return self._noise.bridge()

    def _locate(self, t: float) -> tuple[int, float]:
        """Step of the grid, and time since its start in units of dt."""
        step = int(np.floor(t / self.dt + NEAR))
        return step, t / self.dt - step

    def _enter(self, step: int) -> None:
        if step != self._step:
            self._step, self._splits = step, 0
            self._knots, self._parts = [0.0, 1.0], [None]

    def _number(self, s: float) -> int:
        i = int(np.argmin(np.abs(np.array(self._knots) - s)))
        if abs(self._knots[i] - s) > 2.0 * NEAR:
            raise InputError(
                f"the path is not known at {self._time(s):g}; take steps that end on its grid of dt = "
                f"{self.dt:g}, or split it there first"
            )
        return i

    def _time(self, s: float) -> float:
        return (self._step + s) * self.dt
