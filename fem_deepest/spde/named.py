"""Equations by name, and those of a user's file."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Density = Callable[[Any], Any]
Values = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_NAMES = ("f", "G", "initial")


@dataclass(frozen=True)
class Equation:
    """``du = -( -diffusion Laplace u + f(u) ) dt + G(u) dW``.

    Attributes:
        f: UFL scalar of the unknown, or None.
        G: The same, or None for additive noise.
        potential: ``F`` with ``F' = f``, so that ``int diffusion/2 |grad u|^2 + F(u)`` is the free energy
            that the drift descends; None where it is not known.
        initial: Function of coordinates (3, points), or None; the first is the arc length on a ring.
    """

    f: Density | None
    G: Density | None = None
    potential: Density | None = None
    initial: Values | None = None


def heat(reaction: float) -> Equation:
    """``f = c u``."""
    if reaction == 0.0:
        return Equation(None, potential=lambda u: 0.0 * u)
    return Equation(lambda u: reaction * u, potential=lambda u: 0.5 * reaction * u**2)


def allen_cahn(reaction: float) -> Equation:
    """``f = c (u^3 - u)``, the double well ``c (u^2 - 1)^2 / 4`` (Allen, Cahn 1979)."""
    return Equation(
        lambda u: reaction * (u**3 - u), potential=lambda u: 0.25 * reaction * (u**2 - 1.0) ** 2
    )


def from_file(path: str | Path) -> Equation:
    """``f(u)``, ``G(u)`` (UFL) and ``initial(x)`` (NumPy) of a Python file, which is run.

    Raises:
        InputError: There is no such file, it fails, has none of the three, or one is no function. The
            functions raise it too, if they fail or return what is no UFL or has no value at each point.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"there is no file {path}; give a Python file with f(u), G(u) or initial(x)"
        )
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise InputError(f"{path} fails: {type(error).__name__}: {error}; mend it") from error
    found = {name: names[name] for name in _NAMES if name in names}
    if not found:
        raise InputError(f"{path} defines none of f(u), G(u), initial(x); define one of them")
    for name, value in found.items():
        if not callable(value):
            raise InputError(f"{name} in {path} is no function; write it as def {name}(...)")
    told = {name: _guarded(path, name, function) for name, function in found.items()}
    return Equation(told.get("f"), told.get("G"), initial=told.get("initial"))


def _guarded(path: Path, name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of the user's, whatever it raises in one sentence."""

    def guarded(x: Any) -> Any:
        try:
            value = function(x)
            return np.broadcast_to(value, x.shape[1:]) if name == "initial" else ufl.as_ufl(value)
        except Exception as error:
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"{name} in {path} fails ({told}); mend it") from error

    return guarded


def linear(u: Any) -> Any:
    """``G(u) = u``."""
    return u


def free_energy(equation: Equation, diffusion: float, u: Any) -> ufl.Form | None:
    """``int diffusion/2 |grad u|^2 + F(u)``, or None where ``F`` is not known."""
    if equation.potential is None:
        return None
    return (0.5 * diffusion * ufl.inner(ufl.grad(u), ufl.grad(u)) + equation.potential(u)) * ufl.dx
