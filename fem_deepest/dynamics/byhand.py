"""Dynamics written by the user in vectorised NumPy, with derivatives that are checked at once.

Taylor's theorem knows whether a derivative is right: with ``u`` moved by ``e d`` the remainder
``F(u + e d) - F(u) - e F' d`` must fall like ``e^2``; with a wrong derivative it falls like ``e``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_STEPS = 2.0 ** -np.arange(4.0, 10.0)
_LEAST_SLOPE = 1.7  # of the last halving; right ones have 2, wrong ones 1


class ByHand:
    """``dx/dt = F(x, w; t)`` from three functions.

    Args:
        states: ``D``.
        parameters: Names of the ``P`` parameters; may be empty.
        value: ``value(t, x, w)``: ``F``, (..., D) from (...), (..., D), (..., P).
        jacobian: ``jacobian(t, x, w)``: ``F_x`` (..., D, D) and ``F_w`` (..., D, P).
        curvature: ``curvature(t, x, w, p)``: ``p . F_xx``, ``p . F_xw`` and ``p . F_ww``.
        name: What to call it.
        at: ``x`` (D,) and ``w`` (P,) around which the derivatives are checked; default: zero. Give
            them where ``F`` is not defined there.

    Raises:
        InputError: A shape is wrong, ``F`` is not finite, or a derivative is wrong; it is named, with
            the slope of the Taylor test.

    Nothing here is collective.
    """

    def __init__(
        self,
        states: int,
        parameters: Sequence[str],
        value: Callable[..., Any],
        jacobian: Callable[..., Any],
        curvature: Callable[..., Any],
        *,
        name: str = "user",
        at: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        self.name, self.states, self.parameters = name, states, tuple(parameters)
        self._functions = value, jacobian, curvature
        x, w = at or (np.zeros(states), np.zeros(len(self.parameters)))
        check(self, np.asarray(x, dtype=np.float64), np.asarray(w, dtype=np.float64))

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        return np.asarray(self._functions[0](t, x, w), dtype=np.float64)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        f_x, f_w = self._functions[1](t, x, w)
        return np.asarray(f_x, dtype=np.float64), np.asarray(f_w, dtype=np.float64)

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        f_xx, f_xw, f_ww = self._functions[2](t, x, w, p)
        return np.asarray(f_xx), np.asarray(f_xw), np.asarray(f_ww)


def check(dynamics: Dynamics, x: Array, w: Array) -> None:
    """Check shapes and derivatives at three random points around ``x`` and ``w``.

    Raises:
        InputError: See :class:`ByHand`.

    Not collective: the same on every rank.
    """
    rng, many, name = np.random.default_rng(0), 3, dynamics.name
    d, q = dynamics.states, len(dynamics.parameters)
    if x.shape != (d,) or w.shape != (q,):
        raise InputError(
            f"{name}: got a point with {x.shape} states and {w.shape} parameters to check at, expected "
            f"({d},) and ({q},)"
        )
    x, dx, p = x + rng.standard_normal((many, d)), *rng.standard_normal((2, many, d))
    w, dw = w + 0.5 * rng.standard_normal((many, q)), rng.standard_normal((many, q))
    t = rng.random(many)
    with np.errstate(all="ignore"):
        found = {
            "F": (dynamics.value(t, x, w), (many, d)),
            **dict(
                zip(("F_x", "F_w"), _shaped(dynamics.jacobian(t, x, w), many, d, d, q), strict=True)
            ),
            **dict(
                zip(
                    ("p.F_xx", "p.F_xw", "p.F_ww"),
                    [
                        *_shaped(dynamics.curvature(t, x, w, p)[:2], many, d, d, q),
                        *_shaped(dynamics.curvature(t, x, w, p)[2:], many, q, q),
                    ],
                    strict=True,
                )
            ),
        }
    for what, (array, shape) in found.items():
        if np.shape(array) != shape:
            raise InputError(
                f"{name}: {what} has shape {np.shape(array)} for {many} points at once, expected {shape}; "
                "let it take any leading axes"
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"{name}: {what} is not finite near the point of the check; give another with `at`"
            )
    f_xw = found["p.F_xw"][0]

    def of(dx: Array, dw: Array) -> tuple[Callable[[float], Array], ...]:
        return (
            lambda e: dynamics.value(t, x + e * dx, w + e * dw),
            lambda e: _contract(p, dynamics.jacobian(t, x + e * dx, w + e * dw)[0]),
            lambda e: _contract(p, dynamics.jacobian(t, x + e * dx, w + e * dw)[1]),
        )

    no_x, no_w = np.zeros_like(dx), np.zeros_like(dw)
    along_x, along_w = of(dx, no_w), of(no_x, dw)
    _taylor(name, "F_x", along_x[0], _times(found["F_x"][0], dx))
    _taylor(name, "F_w", along_w[0], _times(found["F_w"][0], dw))
    _taylor(name, "p.F_xx", along_x[1], _times(found["p.F_xx"][0], dx))
    _taylor(name, "p.F_xw", along_w[1], _times(f_xw, dw))
    _taylor(name, "p.F_xw", along_x[2], _times(np.swapaxes(f_xw, -1, -2), dx))
    _taylor(name, "p.F_ww", along_w[2], _times(found["p.F_ww"][0], dw))


def _shaped(arrays: Sequence[Array], many: int, rows: int, *columns: int) -> list[Any]:
    return [(a, (many, rows, c)) for a, c in zip(arrays, columns, strict=True)]


def _contract(p: Array, f: Array) -> Array:
    return (p[..., None, :] @ f)[..., 0, :]


def _times(f: Array, d: Array) -> Array:
    return (f @ d[..., None])[..., 0]


def _taylor(name: str, what: str, function: Callable[[float], Array], derivative: Array) -> None:
    """Refuse a derivative whose remainder does not fall like the square of the step."""
    start = function(0.0)
    with np.errstate(all="ignore"):
        moved = [function(e) for e in _STEPS]
        remainders = np.array(
            [np.linalg.norm(f - start - e * derivative) for f, e in zip(moved, _STEPS, strict=True)]
        )
        size = float(np.linalg.norm(start) + np.linalg.norm(derivative))
        if remainders[-1] <= 1e-9 * max(size, 1e-300) * _STEPS[-1]:
            return  # exact to rounding: linear in this direction
        slope = float(np.log2(remainders[-2] / remainders[-1]))
    if not slope >= _LEAST_SLOPE:
        raise InputError(
            f"{name}: the derivative {what} is wrong: the Taylor remainder falls with slope "
            f"{slope:.2f} instead of 2; correct it"
        )
