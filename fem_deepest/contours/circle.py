r"""The law of a circle that shrinks by curvature and is shaken by one Brownian motion.

    dR = -(nu/R) dt + sigma dbeta,      R^2 = R_0^2 - (2 nu - sigma^2) t + 2 sigma int R dbeta,

so ``E R^2 = R_0^2 - (2 nu - sigma^2) t`` before extinction; stopped at the time ``tau`` at which ``R``
gets too small for the mesh, ``E R_{t ^ tau}^2 + (2 nu - sigma^2) E[t ^ tau] = R_0^2`` at all times
(optional stopping). The last term is a martingale of mean zero whatever the scheme does, since ``R``
does not know the next increment: subtracted, it leaves the mean as it is and little of the variance
(control variate).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.flow import ContourFlow

Array = NDArray[np.float64]


class CircleLaw(NamedTuple):
    """Circles at the times ``t``, each as it was when it was stopped.

    Attributes:
        t: Times, (n + 1,).
        stopped: ``t ^ tau``, (n + 1, S).
        square: ``R^2``, (n + 1, S).
        martingale: ``2 sigma int R dbeta``, (n + 1, S).
    """

    t: Array
    stopped: Array
    square: Array
    martingale: Array

    def rate(self, controlled: bool = False) -> tuple[float, float]:
        """``d E R^2 / dt`` and its standard error, by the last time.

        Args:
            controlled: Subtract the martingale.
        """
        gain = self.square[-1] - self.square[0]
        if controlled:
            gain = gain - self.martingale[-1]
        mean = float(self.stopped[-1].mean())
        rate = float(gain.mean()) / mean
        # A ratio of two means: its error is that of the residuals.
        residual = gain - rate * self.stopped[-1]
        return rate, float(residual.std(ddof=1) / np.sqrt(residual.size) / mean)


def circle_law(
    flow: ContourFlow, steps: int, *, sigma: float, least: float, part: float = 1.0
) -> CircleLaw:
    """Follow circles.

    Args:
        flow: Circles on an image of one grey value, with space-constant noise that is always accepted.
        steps: Number of steps.
        sigma: Strength of the noise.
        least: Radius at which a circle is stopped.
        part: Part of the circle that is on the mesh: 1/4 of one about a corner.

    Collective on the mesh.
    """
    samples = len(flow.samples)
    square, stopped, martingale = (np.zeros((steps + 1, samples)) for _ in range(3))

    def measure() -> Array:
        return np.asarray(flow.energy.field.area(flow.U) / (np.pi * part))

    square[0] = measure()
    alive = np.ones(samples, dtype=bool)
    for n in range(steps):
        beta = flow.noise.increment(flow.step, flow.dt, flow.samples).modes[0]
        flow.advance()
        gain = 2.0 * sigma * np.sqrt(square[n]) * beta
        stopped[n + 1] = stopped[n] + alive * flow.dt
        martingale[n + 1] = martingale[n] + alive * gain
        square[n + 1] = np.where(alive, measure(), square[n])
        alive &= square[n + 1] > least**2
    return CircleLaw(np.asarray(flow.dt * np.arange(steps + 1)), stopped, square, martingale)
