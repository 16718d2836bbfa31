"""Escape times of the stochastic Allen-Cahn equation from one well to the other: what is known.

    du = ( u'' + u - u^3 ) dtau + sqrt(2 eps) dW     on (0, L), Neumann, white noise,

is the gradient flow of ``A(u) = int 1/2 u'^2 + (u^2 - 1)^2/4``. For ``L < pi`` the only saddle between the
wells -1 and 1 is ``u = 0``, at the height ``L/4``, and its only unstable direction is the mean. Eyring and
Kramers' law (N. Berglund, B. Gentz 2013, doi:10.1214/EJP.v18-1802) is

    E tau ~ 2 pi sqrt( prod_k |lambda_k - 1| / (lambda_k + 2) ) exp( L/(4 eps) )
          = 2 pi sqrt( sin L / ( sqrt(2) sinh(sqrt(2) L) ) ) exp( L/(4 eps) ),      lambda_k = (k pi/L)^2,

with corrections of relative size ``eps``. Most of them come from the mean, which is not close to a
parabola: with the other modes integrated out in the Gaussian approximation, the mean ``m`` moves in

    F(m) = L (m^2 - 1)^2/4 + eps/2 sum_{k >= 1} log( lambda_k + 3 m^2 - 1 ),

and its escape time is an integral. Both are given here for the equation, and for P1 elements on ``n``
equal cells, where ``lambda_k = (6/h^2) (1 - cos(k pi/n))/(2 + cos(k pi/n))`` for ``k`` up to ``n``.

A tilt ``b`` puts ``V(m) = (m^2 - 1)^2/4 - b (m - m^3/3)`` in the place of ``(m^2 - 1)^2/4``: the wells
stay at -1 and 1, at the heights ``2b/3`` and ``-2b/3``, and the saddle is at ``-b``. All this holds too
for the flow in the metric ``P = K + M`` of ``H1``, which is that of ``L2`` for constants; only the rates
of the other modes differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson, simpson

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_FLOOR = -2.5  # the mean is never lower: A/eps is larger than 15 L there for eps < 1/2
_POINTS = 4001
_LATE = 0.5825971579  # -zeta(1/2)/sqrt(2 pi)


def potential(m: Array | float, tilt: float = 0.0) -> Array:
    """``V(m) = (m^2 - 1)^2/4 - b (m - m^3/3)``."""
    m = np.asarray(m, dtype=np.float64)
    return np.asarray((m**2 - 1.0) ** 2 / 4.0 - tilt * (m - m**3 / 3.0))


def curvature(m: Array | float, tilt: float = 0.0) -> Array:
    """``V''(m)``."""
    m = np.asarray(m, dtype=np.float64)
    return np.asarray(3.0 * m**2 - 1.0 + 2.0 * tilt * m)


def eigenvalues(L: float, cells: int) -> Array:
    """``lambda_k`` of the elements, k = 0 .. cells."""
    c = np.cos(np.pi * np.arange(cells + 1) / cells)
    return np.asarray(6.0 * (cells / L) ** 2 * (1.0 - c) / (2.0 + c))


def eyring_kramers(L: float, eps: float, cells: int | None = None, tilt: float = 0.0) -> float:
    """Expected time from -1 to 1 in the limit of small noise.

    Args:
        L: Length, below pi.
        eps: Temperature.
        cells: Number of cells of the elements; of the equation itself if None, without tilt.
        tilt: ``b``; a negative one gives the way up from the lower well.

    Raises:
        InputError: The length is not between 0 and pi.
    """
    check_length(L)
    if cells is None:
        prefactor = 2.0 * np.pi * np.sqrt(np.sin(L) / (np.sqrt(2.0) * np.sinh(np.sqrt(2.0) * L)))
        return float(prefactor * np.exp(L / (4.0 * eps)))
    lam, top = eigenvalues(L, cells), curvature(-tilt, tilt)
    ratios = np.abs(lam + top) / (lam + curvature(-1.0, tilt))
    barrier = L * (potential(-tilt, tilt) - potential(-1.0, tilt))
    return float(2.0 * np.pi / np.abs(top) * np.exp(0.5 * np.log(ratios).sum() + barrier / eps))


def effective(
    L: float, eps: float, cells: int, target: float, tilt: float = 0.0, step: float = 0.0
) -> float:
    """Expected time until the mean, which starts at -1, reaches ``target``, in its effective potential.

        E tau = (L/eps) int_{-1}^{target} e^{F(y)/eps} int_{-inf}^y e^{-F(z)/eps} dz dy

    Who looks once in a step sees the mean at the target later, as if the target were higher by
    ``-zeta(1/2)/sqrt(2 pi) = 0.5826`` deviations ``sqrt(2 eps step/L)`` of a step: D. Siegmund, Adv. Appl.
    Probab. 11 (1979) 701-719, doi:10.2307/1426855; M. Broadie, P. Glasserman, S. Kou 1997,
    doi:10.1111/1467-9965.00035.

    Args:
        L: Length, below pi.
        eps: Temperature.
        cells: Number of cells.
        target: Mean at which the path counts as escaped.
        tilt: ``b``.
        step: Time between two looks; 0: always.

    Raises:
        InputError: The length is not between 0 and pi.
    """
    check_length(L)
    target += _LATE * np.sqrt(2.0 * eps * step / L)
    lam, start = eigenvalues(L, cells)[1:, None], curvature(-1.0, tilt)

    def over_eps(m: Array) -> Array:
        """``F/eps`` without a constant."""
        modes = np.log((lam + curvature(m, tilt)) / (lam + start)).sum(axis=0)
        return np.asarray(L * (potential(m, tilt) - potential(-1.0, tilt)) / eps + 0.5 * modes)

    unit = np.arange(_POINTS) / (_POINTS - 1.0)
    below, y = _FLOOR - (1.0 + _FLOOR) * unit, -1.0 + (target + 1.0) * unit
    F = over_eps(y)
    inner = simpson(np.exp(-over_eps(below)), x=below)
    inner += cumulative_simpson(np.exp(-F), x=y, initial=0.0)
    return float(L / eps * simpson(np.exp(F) * inner, x=y))


def check_length(L: float) -> None:
    """Refuse lengths at which the mean is not the only way over the saddle.

    Raises:
        InputError: The length is not between 0 and pi.
    """
    if not 0.0 < L < np.pi:
        raise InputError(
            f"the length is {L}, expected one between 0 and pi: on a longer interval the lowest saddle is "
            "not the constant 0"
        )
