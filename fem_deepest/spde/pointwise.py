"""Functions of the unknown, written in UFL, at the quadrature points of whole blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from scipy import sparse
from ufl.algorithms import expand_derivatives
from ufl.algorithms.analysis import extract_coefficients, extract_constants, extract_type
from ufl.corealg.traversal import unique_pre_traversal

from fem_deepest.dynamics.program import Program
from fem_deepest.errors import InputError
from fem_deepest.spaces.quadrature import Quadrature
from fem_deepest.spde.gradient import gradient_matrices

Array = NDArray[np.float64]
Density = Callable[[Any], Any]
"""``u -> g(x, u, grad u)`` in UFL: a scalar expression of a symbol for the unknown."""


class Pointwise:
    """``g(x, u, grad u)`` and its derivative in ``u``, for all samples together.

    ``g`` may hold the coordinates, constants (their values are read at every evaluation) and other
    functions of the mesh (their values are read once).

    Args:
        g: Function of the unknown that returns a UFL scalar.
        points: Points of a scalar space.
        name: What to call it in errors.

    Attributes:
        constant: Whether the unknown does not appear.
        local: Whether no derivative of the unknown appears.

    Raises:
        InputError: ``g`` is no scalar, or holds what cannot be evaluated.

    Collective: construction and evaluation.
    """

    def __init__(self, g: Density, points: Quadrature, name: str) -> None:
        self._points, domain = points, points.V.mesh
        if points.blocks.bs != 1:
            raise InputError(
                f"{name} was given on a space of vectors, expected one of scalars; write a system as one "
                "equation for each component"
            )
        u = fem.Function(points.V)
        e = expand_derivatives(ufl.as_ufl(g(u)))
        if e.ufl_shape != ():
            raise InputError(
                f"{name} has shape {e.ufl_shape}, expected a scalar of the scalar unknown"
            )
        value, slope = ufl.Constant(domain), ufl.Constant(domain, shape=(domain.geometry.dim,))
        place = ufl.Constant(domain, shape=(domain.geometry.dim,))
        variable = ufl.variable(value)
        self._symbols = {"u": value, "p": slope, "x": place}
        names: dict[Any, Any] = {u: variable, ufl.grad(u): slope}
        names |= dict.fromkeys(extract_type(e, ufl.classes.SpatialCoordinate), place)
        self._constants, self._fields = {}, dict[str, Array]()
        for number, c in enumerate(extract_constants(e)):
            key = f"c{number}"
            self._symbols[key] = names[c] = ufl.Constant(domain, shape=c.ufl_shape)
            self._constants[key] = c
        for number, w in enumerate(w for w in extract_coefficients(e) if w is not u):
            key = f"w{number}"
            self._symbols[key] = names[w] = ufl.Constant(domain, shape=w.ufl_shape)
            self._fields[key] = self._other(w, name)
        self.local = not any(_is_slope(o, u) for o in unique_pre_traversal(e))
        self.constant = u not in extract_coefficients(e)
        self._g = ufl.replace(e, names)
        self._variable = variable
        self._value = Program([self._g], self._symbols)
        self._slope: Program | None = None

    def value(self, block: Array) -> Array:
        """``g`` at the points, (points, S), or (points, 1) where the unknown does not appear."""
        return self._run(self._value, block)

    def derivative(self, block: Array) -> Array:
        """``dg/du`` at the points, (points, S)."""
        if self._slope is None:
            self._slope = Program([ufl.diff(self._g, self._variable)], self._symbols)
        return self._run(self._slope, block)

    def product(self, block: Array) -> Array:
        """``g dg/du`` at the points, (points, S)."""
        return self.value(block) * self.derivative(block)

    def _run(self, program: Program, block: Array) -> Array:
        points = self._points
        given: dict[str, Any] = {"x": points.x[:, None, :]}
        given |= {key: np.asarray(c.value) for key, c in self._constants.items()}
        given |= self._fields
        samples = 1
        if not self.constant:
            samples, local = block.shape[1], points.blocks.ghosted(block)
            given["u"] = points.matrix @ local
            if not self.local:
                given["p"] = np.stack([D @ local for D in self._gradient], axis=-1)
        return program.run((points.points, samples), **given)[0]

    @cached_property
    def _gradient(self) -> list[sparse.csr_matrix]:
        return gradient_matrices(self._points)

    def _other(self, w: fem.Function, name: str) -> Array:
        """Another function at the points, (points, 1, *shape)."""
        points = self._points
        if w.function_space.mesh != points.V.mesh:
            raise InputError(
                f"{name} holds a function of another mesh; interpolate it to that of V"
            )
        there = Quadrature(w.function_space, points.degree, points.order)
        return there.evaluate(there.blocks.of(w)).reshape(points.points, 1, *w.ufl_shape)


def _is_slope(o: Any, u: fem.Function) -> bool:
    return type(o).__name__ == "Grad" and o.ufl_operands[0] == u
