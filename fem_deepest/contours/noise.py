r"""Noise on the normal velocity of contours: one Brownian motion for all, or a field in space.

A contour whose points move along their normal with ``dW`` is, as a phase field,

    du = |grad u| o dW = G(u) o dW,       G(u) = (1 - u^2) / (sqrt(2) eps),

in the sense of Stratonovich: only then is the motion that of the curve, whatever function has it as its
level (Ito's calculus would see a second derivative along the normal, and the equation without its
correction depends on the profile, or is ill-posed: Lions, Souganidis 1998; Juan, Keriven, Postelnicu
2006). In Ito's form

    du = G(u) dW + 1/2 G'(u) G(u) q dt,        1/2 G' G q = - q/(2 eps^2) (u - u^3),

with the variance density ``q(x)`` of ``W``: the correction is a well of the other sign. Left out, the
profile becomes steeper by ``s = sqrt(1 + q/(2 nu))``, where ``nu`` is the price of length, and a shift
by ``dW`` moves the contour by ``dW / s`` only.

Here the equation is solved as it stands: over a step it is the shift of
:func:`fem_deepest.contours.profile.shift`, exact for Stratonovich noise. White noise in the plane has
no ``q``: the correction would be infinite, and with it every limit of fine meshes. It is refused.
"""

from __future__ import annotations

from typing import Any, Literal

from dolfinx import fem

from fem_deepest.errors import InputError
from fem_deepest.noise.finite_rank import FiniteRank
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.wiener import QWiener

Kind = Literal["constant", "matern", "white"]


def normal_noise(
    V: Any,
    kind: Kind,
    *,
    strength: float,
    seed: int,
    length: float = 0.2,
    smoothness: float = 1.0,
) -> Any:
    """A Wiener process for the normal velocity.

    Args:
        V: Space of the phase field.
        kind: "constant", the same for the whole contour; "matern", a Whittle-Matern field.
        strength: ``sigma``, standard deviation of ``W(1)`` at a point.
        seed: Seed; the number of the sample names the path.
        length: Correlation length ("matern").
        smoothness: ``nu`` of the field ("matern").

    Raises:
        InputError: White noise was asked for, or a number is not positive.

    Collective.
    """
    if not 0.0 < strength < float("inf"):
        raise InputError(f"the strength of the noise is {strength:g}, expected a positive number")
    if kind == "constant":
        one = fem.Function(V)
        one.x.array[:] = strength
        return FiniteRank(V, [one], seed)
    if kind == "white":
        raise InputError(
            "white noise was asked for on contours in the plane, where the flow is ill-posed: its "
            "variance at a point, and with it Stratonovich's correction, is infinite; take 'matern' or "
            "'constant'"
        )
    field = WhittleMatern.with_law(
        V, sigma=strength, length=length, alpha=smoothness + 1.0, boundary="robin"
    )
    return QWiener(field, WhiteNoise(V, seed))


def check_noise(noise: Any) -> None:
    """Refuse noise without a variance at a point.

    Raises:
        InputError: The noise is white, or not of trace class.
    """
    beta = noise.covariance.beta(2)
    if beta <= 1.0:
        raise InputError(
            f"the noise of a contour has the regularity beta = {beta:g} in the plane, expected more than "
            "1: its variance at a point, and with it Stratonovich's correction, is infinite; take a "
            "smoother field or a constant one"
        )
