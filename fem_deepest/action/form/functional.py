"""A functional of a function, ``A(u)``, with its first and second variation, assembled.

All forms are compiled once, when they are first needed, whatever the number of unknowns or steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest._petsc import PETSc

Array = NDArray[np.float64]


class Functional:
    """``A(u)`` of the values that a function has, on its whole space.

    Args:
        form: UFL form of rank 0.
        field: The function ``u``.

    Attributes:
        direction: Function that :meth:`product` takes as the direction.

    Collective on the mesh: construction and every method. Vectors are the local entries, ghosts
    included, of which the owned ones are meant; the next call overwrites them.
    """

    def __init__(self, form: ufl.Form, field: fem.Function) -> None:
        self._field, self._parts = field, _by_rule(form)
        self.direction, self._assembled = (fem.Function(field.function_space) for _ in range(2))

    def value(self) -> float:
        """``A(u)``, the same on every rank."""
        local = sum(fem.assemble_scalar(form) for form in self._value)
        return float(self._field.function_space.mesh.comm.allreduce(local))

    def gradient(self) -> Array:
        """``A'(u)``."""
        return self._vector(self._gradient)

    def product(self) -> Array:
        """``A''(u) d`` with the direction ``d``, without a matrix."""
        return self._vector(self._product)

    def hessian(self) -> PETSc.Mat:
        """``A''(u)``."""
        self._matrix.zeroEntries()
        for form in self._hessian:
            petsc.assemble_matrix(self._matrix, form, [], 1.0)
        self._matrix.assemble()
        return self._matrix

    @cached_property
    def second_derivatives(self) -> list[ufl.Form]:
        """``A''`` as bilinear forms, those that are not zero."""
        return _nonzero(ufl.derivative(g, self._field) for g in self._first)

    @cached_property
    def _first(self) -> list[ufl.Form]:
        return _nonzero(ufl.derivative(part, self._field) for part in self._parts)

    @cached_property
    def _value(self) -> list[fem.Form]:
        return _compiled(self._parts)

    @cached_property
    def _gradient(self) -> list[fem.Form]:
        return _compiled(self._first)

    @cached_property
    def _product(self) -> list[fem.Form]:
        return _compiled(
            _nonzero(ufl.derivative(g, self._field, self.direction) for g in self._first)
        )

    @cached_property
    def _hessian(self) -> list[fem.Form]:
        return _compiled(self.second_derivatives)

    @cached_property
    def _matrix(self) -> PETSc.Mat:
        """Matrix with room for the second derivatives of all parts."""
        space = self._field.function_space
        u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
        pattern = ufl.inner(u, v) * ufl.dx
        kinds = {i.integral_type() for part in self._parts for i in part.integrals()}
        if "interior_facet" in kinds:
            pattern += ufl.inner(ufl.avg(u), ufl.avg(v)) * ufl.dS
        return petsc.create_matrix(_compiled([pattern])[0])

    def _vector(self, forms: list[fem.Form]) -> Array:
        vector = self._assembled.x
        vector.array[:] = 0.0
        for form in forms:
            fem.assemble_vector(vector.array, form)
        _compat.add_ghosts(vector)
        return np.asarray(vector.array)


def _by_rule(form: ufl.Form) -> list[ufl.Form]:
    """The form in parts of one quadrature rule each.

    FFCx (0.9 at least) may reuse what it has evaluated at the point of a one-point rule for the other
    rules of the same kernel: ``x exp(x)`` by the midpoint rule plus ``x^2`` by another comes out wrong.
    """
    parts = dict[Any, list[ufl.Integral]]()
    for number, integral in enumerate(form.integrals()):
        rule = integral.metadata()
        # A degree that is not given is estimated, for each integral on its own.
        key = str(sorted(rule.items())) if "quadrature_degree" in rule else number
        parts.setdefault(key, []).append(integral)
    return [ufl.Form(integrals) for integrals in parts.values()]


def _nonzero(forms: Iterable[ufl.Form]) -> list[ufl.Form]:
    expanded = [ufl.algorithms.expand_derivatives(form) for form in forms]
    return [form for form in expanded if form.integrals()]


def _compiled(forms: Iterable[ufl.Form]) -> list[fem.Form]:
    return [fem.form(form, jit_options=_compat.JIT_OPTIONS) for form in forms]
