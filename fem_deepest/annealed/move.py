"""The operator ``N`` of the noise: one step of the theta-scheme, without the mean of the prior.

    (N + k vartheta P) (u' - u) = -k grad A(u) + sqrt(2 theta k) b,      b ~ N(0, N).

With ``A = Phi + 1/2 <u - m, P (u - m)>`` this is the step of :mod:`fem_deepest.sample.langevin`, in which
only the prior part is implicit: ``P`` is linear, so ``m`` drops out of the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import HasMass, Landscape, Numbers
from fem_deepest.annealed.mass import NO_MASS
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Noise(Protocol):
    """The operator ``N`` of a landscape.

    Collective: every method.
    """

    def riesz(self, G: Array) -> Array:
        """``N^{-1} G`` of a dual block."""

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int) -> Array:
        """What :meth:`move` takes as its noise."""

    def move(self, G: Array, riesz: Array, noise: Array, k: float, scale: Array) -> Array:
        """``u' - u``.

        Args:
            G: ``grad A``, a dual block.
            riesz: ``N^{-1} G``.
            noise: What :meth:`draw` gave.
            k: Length of the step.
            scale: ``sqrt(2 theta k)``, (S,).
        """


class ByPrior:
    """``N = P``: noise of covariance ``C``.

    It has to be trace class: an H1 metric is enough in one dimension, in two or three its square is; see
    :mod:`fem_deepest.action.form.squared`. This is not checked: a metric does not tell its order.

    Args:
        landscape: The landscape.
        implicitness: ``vartheta``.
    """

    def __init__(self, landscape: Landscape, implicitness: float) -> None:
        self._landscape, self._implicitness = landscape, implicitness

    def riesz(self, G: Array) -> Array:
        """``C G``."""
        return self._landscape.solve(G)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int) -> Array:
        """``N(0, C)``."""
        return self._landscape.draw(seed, step, numbers, stream)

    def move(self, G: Array, riesz: Array, noise: Array, k: float, scale: Array) -> Array:
        """See :class:`Noise`."""
        return np.asarray((scale * noise - k * riesz) / (1.0 + k * self._implicitness))


class ByMass:
    """``N = M``: white noise, and no preconditioner: the stochastic heat equation.

    Args:
        landscape: The landscape, with a mass.
        implicitness: ``vartheta``.

    Raises:
        InputError: There is no mass, or the domain has two dimensions or more.

    Collective.
    """

    def __init__(self, landscape: Landscape, implicitness: float) -> None:
        if not isinstance(landscape, HasMass):
            raise InputError(NO_MASS)
        self._mass = landscape.mass()
        if self._mass.dimension > 1:
            raise InputError(
                f"white noise was asked for on a domain of dimension {self._mass.dimension}, expected 1: "
                "the flow is ill-posed at any positive temperature, its mean square grows without bound "
                "as the mesh is refined; take the noise of the prior"
            )
        self._implicitness = implicitness
        self._factor: tuple[float, Callable[[Array], Array]] | None = None

    def riesz(self, G: Array) -> Array:
        """``M^{-1} G``."""
        return self._mass.solve(G)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int) -> Array:
        """``N(0, M)``."""
        return self._mass.draw(seed, step, numbers, stream)

    def move(self, G: Array, riesz: Array, noise: Array, k: float, scale: Array) -> Array:
        """See :class:`Noise`."""
        a = k * self._implicitness
        if self._factor is None or self._factor[0] != a:
            self._factor = a, self._mass.shifted(a)
        return self._factor[1](scale * noise - k * G)
