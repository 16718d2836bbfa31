"""Functions of a scalar unknown in UFL, with their derivative, at the points of a rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from ufl.algorithms import expand_derivatives
from ufl.algorithms.analysis import extract_coefficients
from ufl.corealg.traversal import unique_pre_traversal

from fem_deepest.errors import InputError
from fem_deepest.noise.nemytskii import Nemytskii
from fem_deepest.spaces.quadrature import Rule

Array = NDArray[np.float64]
Density = Callable[[Any], Any]
"""``u -> g(x, u, grad u)`` in UFL: a scalar expression of a symbol for the unknown."""


class Pointwise:
    """``g(x, u, grad u)`` and ``dg/du`` on blocks, see :class:`fem_deepest.noise.nemytskii.Nemytskii`.

    Args:
        g: Function of the unknown that returns a UFL scalar.
        points: Rule of a scalar space.
        name: What to call it in errors.

    Attributes:
        constant: Whether the unknown does not appear.
        local: Whether no derivative of the unknown appears.

    Raises:
        InputError: ``g`` is no scalar, or holds what cannot be evaluated.

    Collective: construction and evaluation.
    """

    def __init__(self, g: Density, points: Rule, name: str) -> None:
        if points.blocks.bs != 1:
            raise InputError(
                f"{name} was given on a space of vectors, expected one of scalars; write a system as one "
                "equation for each component"
            )
        self._points, self._u = points, fem.Function(points.V)
        self._g = expand_derivatives(ufl.as_ufl(g(self._u)))
        if self._g.ufl_shape != ():
            raise InputError(
                f"{name} has shape {self._g.ufl_shape}, expected a scalar of the scalar unknown"
            )
        self.constant = self._u not in extract_coefficients(self._g)
        self.local = not any(
            type(o).__name__ == "Grad" and o.ufl_operands[0] == self._u
            for o in unique_pre_traversal(self._g)
        )
        self._value = Nemytskii(self._g, self._u, points)

    def value(self, block: Array) -> Array:
        """``g`` at the points, (points, S)."""
        return self._value.values(block)

    def derivative(self, block: Array) -> Array:
        """``dg/du`` at the points, (points, S)."""
        return self._slope.values(block)

    @cached_property
    def _slope(self) -> Nemytskii:
        # UFL differentiates by variables; this one stands for u and is u again afterwards.
        number = ufl.Constant(self._points.V.mesh)
        variable = ufl.variable(number)
        slope = expand_derivatives(ufl.diff(ufl.replace(self._g, {self._u: variable}), variable))
        return Nemytskii(ufl.replace(slope, {number: self._u}), self._u, self._points)
