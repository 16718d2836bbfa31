"""Noise in windows of depth and of components of a path: what basin hopping moves by.

    u' = sqrt(1 - W^2) u + W xi,      xi ~ N(0, theta Q),      Q = 2 kappa (kappa^2 - d^2/dt^2)^{-1},

for every component of the path, independent of each other. In the middle of the window, where ``W = 1``,
the path is forgotten and drawn anew; outside, ``W = 0``, it stays. ``Q`` is trace class, of variance 1
away from the ends of the path and correlation length ``1/kappa``. A path with one constant ``W`` would be
proposed as by pCN (Cotter, Roberts, Stuart, White 2013, doi:10.1214/13-STS421).

Where an action couples neighbours alone, its local minima are combinations of local faults, and a move of
the whole path has to mend all of them at once; a window mends one and leaves the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.depth import InDepth, h1
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import normals

Array = NDArray[np.float64]
Interval = tuple[float, float]

_WINDOWS, _NOISE = 32, 33  # streams of the generator; flows and starts have the first ones


@dataclass(frozen=True)
class Windows:
    """Windows at random places and of random sizes, and the noise in them.

    A window is the product of a trapezium in depth and one over the components, which stand on a ring as
    those of Lorenz 96 do: 1 up to its half-width from the middle, 0 from twice that. Half-widths are
    log-uniform, middles uniform. Constant parameters stay as they are.

    Attributes:
        paths: The action, which gives the layout.
        width: Least and largest half-width in depth.
        breadth: Least and largest half-width in components.
        length: Correlation length ``1/kappa`` of the noise, in depth.
        theta: Temperature: the variance of the noise.

    Raises:
        InputError: A number is not positive, an interval is empty, or parameters vary in depth.

    Nothing here is collective.
    """

    paths: Paths
    width: Interval
    breadth: Interval
    length: float
    theta: float

    def __post_init__(self) -> None:
        for name, (low, high) in (("width", self.width), ("breadth", self.breadth)):
            if not 0.0 < low <= high < np.inf:
                raise InputError(
                    f"the windows have a {name} from {low} to {high}, expected two positive numbers, the "
                    "smaller one first"
                )
        for name in ("length", "theta"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InputError(
                    f"the noise in windows has {name} {getattr(self, name)}, expected a positive number"
                )
        if self.paths.defects.varying:
            raise InputError("parameters that vary in depth have no windows; take constant ones")

    def __call__(self, U: Array, seed: int, step: int, numbers: Numbers) -> Array:
        """``u'`` of every column of ``U`` (n, S); the randomness of a column has its number."""
        W = self.draw(seed, step, numbers)
        (nodes, states), cut = self.paths.shapes[0], W.size // U.shape[1]
        W = W.reshape(cut, -1)
        z = normals(seed, self._keys, step, _NOISE, numbers)
        xi = self._covariance.inverse_root(z)[:cut]
        out = U.copy()
        out[: nodes * states] = np.sqrt(1.0 - W**2) * U[:cut] + W * xi
        return out

    def draw(self, seed: int, step: int, numbers: Numbers) -> Array:
        """``W`` at the nodes, (m, D, S)."""
        t, states = self.paths.defects.nodes[: self.paths.shapes[0][0]], self.paths.shapes[0][1]
        four = np.arange(4, dtype=np.uint64)
        a, b, c, d = ndtr(normals(seed, four, step, _WINDOWS, numbers))
        wide, broad = _between(self.width, c), _between(self.breadth, d)
        far = np.abs(t[:, None] - (t[0] + (t[-1] - t[0]) * a))
        around = np.abs(np.arange(states)[:, None] - states * b)
        around = np.minimum(around, states - around)
        return _trapezium(far / wide)[:, None] * _trapezium(around / broad)[None]

    @cached_property
    def _covariance(self) -> InDepth:
        """The precision ``(theta Q)^{-1}``."""
        kappa, nodes = 1.0 / self.length, self.paths.defects.nodes[: self.paths.shapes[0][0]]
        first = 1.0 / (2.0 * kappa * self.theta)
        scale = np.ones(self.paths.shapes[1])
        return InDepth(self.paths, h1(np.diff(nodes), kappa**2 * first, first), None, scale)

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return np.arange(self.paths.size, dtype=np.uint64)


def _between(interval: Interval, part: Array) -> Array:
    low, high = interval
    return np.asarray(low * (high / low) ** part)


def _trapezium(far: Array) -> Array:
    return np.clip(2.0 - far, 0.0, 1.0)
