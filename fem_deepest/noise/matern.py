"""Whittle-Matern fields ``(kappa^2 - Laplace)^{alpha/2} u = tau W`` by elliptic solves.

On all of R^d, with ``nu = alpha - d/2 > 0`` (Lindgren, Rue, Lindstrom 2011,
doi:10.1111/j.1467-9868.2011.00777.x),

    sigma^2 = tau^2 Gamma(nu) / ( Gamma(alpha) (4 pi)^{d/2} kappa^{2 nu} ),
    E u(x) u(y) = sigma^2 2^{1-nu} / Gamma(nu) (kappa r)^nu K_nu(kappa r),      r = |x - y|,

and the correlation length ``ell = sqrt(8 nu) / kappa`` is where the correlation has dropped to about 0.14.
With ``L = kappa^2 M + K`` and ``A_h = M^{-1} L`` the discrete square root is

    S = tau A_h^{-alpha/2} M^{-1},      C = S M S^T = tau^2 A_h^{-alpha} M^{-1}.

For even ``alpha`` that is ``alpha/2`` solves. Otherwise the remaining power ``A_h^{-s}``, ``0 < s < 1``,
is a sum of fractions ``w_i (A_h + t_i)^{-1}``, one solve for each of them (the rational SPDE approach of
Bolin, Kirchner 2020, doi:10.1080/10618600.2019.1665537, with the fractions of
:mod:`fem_deepest.noise.rational`). For whole ``alpha`` the covariance ``C`` needs no fractions at all.

Boundaries change the variance within a correlation length (Khristenko et al. 2019,
doi:10.1137/18M1215700). On a square of four correlation lengths, ``alpha = 2``, Neumann conditions double
it at an edge and double it again in a corner, Dirichlet conditions take it to zero, and Robin conditions
``du/dn + (kappa/1.42) u = 0`` (Roininen, Huttunen, Lasanen 2014, doi:10.3934/ipi.2014.8.561) change it by
20 % at most, by 2 % in the mean. In one dimension the coefficient ``kappa`` is exact for ``alpha = 1``,
and ``(sqrt(2) - 1) kappa`` makes the variance at the ends right for ``alpha = 2``.
:class:`fem_deepest.noise.rescaled.Rescaled` makes the variance constant.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.elliptic import ROBIN, Elliptic
from fem_deepest.noise.rational import Fractions, inverse_power
from fem_deepest.spaces.factorised import Factorised

Array = NDArray[np.float64]


class WhittleMatern(Covariance):
    """Covariance of ``(kappa^2 - Laplace)^{alpha/2} u = tau W`` on any mesh.

    Args:
        V: Lagrange space, scalar or vector-valued (independent components).
        kappa: ``kappa``, an inverse length; zero is allowed with "dirichlet".
        tau: ``tau``, positive.
        alpha: ``alpha``, positive. Fields have point values in the limit only for ``alpha > d/2``.
        boundary: "neumann", "dirichlet", "robin", or "periodic" in the first coordinate (Neumann on the
            other sides).
        robin: ``r`` in ``du/dn + r kappa u = 0``.
        tolerance: Greatest relative error of a fractional power on the spectrum of ``A_h``.
        prefix: Options ``-PREFIX_ksp_type`` and the like choose the solver.

    Raises:
        InputError: A number is out of its range.

    Collective: see :class:`Covariance`.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        *,
        kappa: float,
        tau: float = 1.0,
        alpha: float = 2.0,
        boundary: str = "neumann",
        robin: float = ROBIN,
        tolerance: float = 1e-11,
        prefix: str = "matern",
    ) -> None:
        if not 0.0 < tau < math.inf:
            raise InputError(f"tau = {tau:g} was given, expected a positive number")
        if not 0.0 < alpha < math.inf:
            raise InputError(
                f"alpha = {alpha:g} was given, expected a positive number; alpha = 0 is WhiteCovariance"
            )
        super().__init__(V)
        self.kappa, self.tau, self.alpha = kappa, tau, alpha
        self._elliptic = Elliptic(V, kappa, boundary, robin, prefix)
        self._tolerance = tolerance
        self._powers = math.floor(0.5 * alpha)
        self._rest = 0.5 * alpha - self._powers

    @classmethod
    def with_law(
        cls,
        V: fem.FunctionSpace,
        *,
        sigma: float,
        length: float,
        alpha: float = 2.0,
        boundary: str = "neumann",
        robin: float = ROBIN,
        tolerance: float = 1e-11,
        prefix: str = "matern",
    ) -> WhittleMatern:
        """The field with a given standard deviation and correlation length far from the boundary.

        Args:
            V: See the class.
            sigma: Standard deviation of a point value, positive.
            length: Correlation length ``sqrt(8 nu) / kappa``, positive.
            alpha: ``nu + d/2``, greater than ``d/2``.
            boundary: See the class.
            robin: See the class.
            tolerance: See the class.
            prefix: See the class.

        Raises:
            InputError: A number is out of its range.
        """
        d = int(V.mesh.topology.dim)
        for name, value in (("standard deviation", sigma), ("correlation length", length)):
            if not 0.0 < value < math.inf:
                raise InputError(f"{name} {value:g} was given, expected a positive number")
        if not alpha > 0.5 * d:
            raise InputError(
                f"alpha = {alpha:g} was given, expected more than d/2 = {0.5 * d:g}: the point values of "
                "such a field have no variance; give kappa and tau if only its action on loads is wanted"
            )
        kappa = math.sqrt(8.0 * (alpha - 0.5 * d)) / length
        try:
            tau = sigma * math.exp(-0.5 * _log_variance(kappa, alpha, d))
        except OverflowError:
            raise InputError(
                f"alpha = {alpha:g} and a correlation length of {length:g} were given, expected less of "
                "one: kappa^(2 nu) is too large a number"
            ) from None
        return cls(
            V,
            kappa=kappa,
            tau=tau,
            alpha=alpha,
            boundary=boundary,
            robin=robin,
            tolerance=tolerance,
            prefix=prefix,
        )

    def apply(self, r: Array) -> Array:
        """``C r``; see :class:`Covariance`."""
        if self.alpha != int(self.alpha):
            return self.apply_sqrt(self.mass(self.apply_sqrt(r)))
        x = self._elliptic.restrict(r)
        for power in range(int(self.alpha)):
            x = self._solve.solve(self._elliptic.mass(x) if power else x)
        return self.tau**2 * self._elliptic.inject(x)

    def apply_sqrt(self, b: Array) -> Array:
        """``S b``; see :class:`Covariance`."""
        x = self._elliptic.restrict(b)
        fresh = True  # still a load
        if self._rest:
            fractions, solvers = self._fractions
            parts = zip(fractions.weights, solvers, strict=True)
            x = sum((w * solve.solve(x) for w, solve in parts), np.zeros_like(x))
            fresh = False
        for _ in range(self._powers):
            x = self._solve.solve(x if fresh else self._elliptic.mass(x))
            fresh = False
        return self.tau * self._elliptic.inject(x)

    def beta(self, d: int | None = None) -> float:
        """``1 + alpha - d/2``; see :class:`Covariance`. Not collective."""
        return 1.0 + self.alpha - 0.5 * self.dimension(d)

    @property
    def fractions(self) -> Fractions | None:
        """Fractions of the power that is left over from whole ones, or None for even ``alpha``."""
        return self._fractions[0] if self._rest else None

    @cached_property
    def _solve(self) -> Factorised:
        return self._elliptic.shifted(0.0)

    @cached_property
    def _fractions(self) -> tuple[Fractions, list[Factorised]]:
        elliptic = self._elliptic
        found = inverse_power(self._rest, elliptic.low, elliptic.high(), self._tolerance)
        return found, [elliptic.shifted(float(t)) for t in found.shifts]


def marginal_variance(kappa: float, alpha: float, d: int) -> float:
    """``Gamma(nu) / ( Gamma(alpha) (4 pi)^{d/2} kappa^{2 nu} )``, the variance on R^d for ``tau = 1``.

    Args:
        kappa: Positive.
        alpha: Greater than ``d/2``.
        d: Dimension.
    """
    return math.exp(_log_variance(kappa, alpha, d))


def _log_variance(kappa: float, alpha: float, d: int) -> float:
    nu = alpha - 0.5 * d
    scale = 0.5 * d * math.log(4.0 * math.pi) + 2.0 * nu * math.log(kappa)
    return math.lgamma(nu) - math.lgamma(alpha) - scale
