"""Path measures of ``dx = f dt + dW`` between clamped ends: Gibbs, or the law of the equation.

The action of the equation is ``int 1/2 |x' - f|^2 dt``. With ``f = -grad U`` and both ends clamped the
product ``- int f x' dt`` is a constant, and what is left is ``1/2 int x'^2 + int phi dt`` with

    phi = f^2/2                  "gibbs": exp(-A) on P1 paths, refined
    phi = (f^2 + div f)/2        "sde":   the law of the equation (Girsanov, Ito)

The two differ on any finite interval: refining the first does not give the second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ufl

from fem_deepest.errors import InputError

MEASURES = ("gibbs", "sde")


def path_potential(drift: Callable[[Any], Any], measure: str = "gibbs") -> Callable[[Any], Any]:
    """``phi(x)`` of a scalar path.

    Args:
        drift: ``f(x)`` in UFL.
        measure: "gibbs" or "sde".

    Returns:
        ``phi``, for :class:`.IntegralTarget` with the prior ``1/2 x'^2``.

    Raises:
        InputError: There is no such measure, or (when called) ``x`` is a vector, whose drift need not be a
            gradient.
    """
    if measure not in MEASURES:
        raise InputError(f"the measure is '{measure}', expected one of {', '.join(MEASURES)}")

    def phi(x: Any) -> Any:
        if x.ufl_shape:
            raise InputError(
                f"the path has {x.ufl_shape[0]} components, expected one: the drift of several need not "
                "be a gradient; take an ActionTarget"
            )
        y = ufl.variable(x)
        f = ufl.as_ufl(drift(y))
        half = 0.5 * f**2
        return half + 0.5 * ufl.diff(f, y) if measure == "sde" else half

    return phi
