"""Target with a potential that is an integral, in UFL, for all chains at once.

    A(u) = int phi(u) dx + (a quadratic form of u),      u clamped where it is,

``phi`` is compiled to vectorised NumPy and evaluated at the points of a rule for a whole block; the
quadratic form gives the prior: its second derivative is ``P``, its minimiser ``m``, an affine lift of
the clamped values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from scipy import sparse
from ufl.algorithms.analysis import extract_type
from ufl.classes import Derivative

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.functional import Functional
from fem_deepest.dynamics.program import Program
from fem_deepest.errors import InputError
from fem_deepest.noise.nemytskii import Nemytskii
from fem_deepest.sample.matrices import by_rows, check_alone
from fem_deepest.sample.target import Gaussian
from fem_deepest.spaces.cholesky import Cholesky
from fem_deepest.spaces.constrained import Clamped
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature, Rule

Array = NDArray[np.float64]


class IntegralTarget:
    """``Phi(u) = int phi(u) dx`` on a Lagrange space; see the module.

    Args:
        unknown: ``u``; its values now are the clamped values.
        phi: ``phi(u)``, a function that returns a scalar UFL expression, without derivatives of ``u``.
        prior: Quadratic density of ``unknown`` in UFL, such as ``1/2 u'^2``. Terms of first order in
            ``u`` move the mean.
        clamped: Conditions that hold exactly.
        periodic: Identify both ends.
        rule: Points of the integral: :class:`.Quadrature` of a degree that is high enough, or
            :class:`.Lumped` for the nodes (the trapezoidal rule, which also lumps the mass; of the law of
            a path its error is ``h^2``, that of exact integration ``h``). By default exact for ``phi``
            of degree 4 in ``u``.

    Attributes:
        prior: The Gaussian.
        rule: The points.
        V: The space.

    Raises:
        InputError: The mesh is on several ranks, ``phi`` is not a scalar or holds derivatives of ``u``,
            or the prior is not quadratic and positive.
    """

    def __init__(
        self,
        unknown: fem.Function,
        phi: Callable[[Any], Any],
        prior: Any,
        *,
        clamped: Sequence[Clamped] = (),
        periodic: bool = False,
        rule: Rule | None = None,
    ) -> None:
        self.V = V = unknown.function_space
        check_alone(V.mesh.comm)
        degree = V.ufl_element().degree
        self.rule = Quadrature(V, 4 * degree) if rule is None else rule
        u = ufl.variable(unknown)
        density = _plain(ufl.as_ufl(phi(u)))
        if density.ufl_shape != ():
            raise InputError(
                f"the potential density phi(u) has shape {density.ufl_shape}, expected a scalar; "
                "integrate one number"
            )
        if extract_type(density, Derivative):
            raise InputError(
                "the potential density phi(u) holds a derivative; give derivatives in the quadratic "
                "prior, or take an ActionTarget"
            )
        self._order = np.argsort(V.tabulate_dof_coordinates()[:, 0], kind="stable")
        self._symbols = (density, unknown)
        self._phi = Nemytskii(density, unknown, self.rule)
        self._slope = Nemytskii(_plain(ufl.diff(density, u)), unknown, self.rule)
        quadratic = FormAction(
            prior,
            unknown,
            clamped=clamped,
            periodic=periodic,
            metric=prior,
            points=degree + 1,
        )
        zero, g = quadratic.create(), quadratic.create()
        quadratic.gradient(zero, g)
        P = Cholesky(by_rows(quadratic.metric.matrix), "the prior")
        mean = -P.solve(g.array_r[:, None].copy())
        self._Z = by_rows(quadratic.space.injection)
        zero.array[...] = mean[:, 0]
        quadratic.space.expand(zero, quadratic.field)
        self._base = quadratic.field.x.array[:, None].copy()
        if isinstance(self.rule, Lumped):
            mass = sparse.diags(np.repeat(self.rule.weights, self.rule.blocks.bs))
        else:
            square = 0.5 * ufl.inner(quadratic.field, quadratic.field) * ufl.dx
            mass = by_rows(Functional(square, quadratic.field).hessian())
        self.prior = Gaussian(mean, P, Cholesky(self._Z.T @ mass @ self._Z, "the mass matrix"))

    def field(self, v: Array) -> Array:
        """Coefficients of ``u = m + v`` of all dofs, clamped ones included: a block of ``V``."""
        return np.asarray(self._Z @ v + self._base)

    def path(self, v: Array) -> Array:
        """Values at the nodes of a scalar path in the order of the depth, ends included."""
        return self.field(v)[self._order]

    def density(self, values: Array) -> Array:
        """``phi`` of a scalar unknown that does not depend on the place, at numbers of any shape."""
        density, unknown = self._symbols
        return Program([density], {"u": unknown}).run(values.shape, u=values)[0]

    def potential(self, v: Array) -> Array:
        """See :class:`.Target`."""
        return self._integral(self.field(v))

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """See :class:`.Target`."""
        U = self.field(v)
        return self._integral(U), np.asarray(self._Z.T @ self._slope.integrate(U))

    def _integral(self, U: Array) -> Array:
        return np.asarray(self.rule.weights @ self._phi.values(U))


def _plain(expression: Any) -> Any:
    """The expression with variables and derivatives worked out."""
    return ufl.algorithms.apply_derivatives.apply_derivatives(
        ufl.algorithms.apply_algebra_lowering.apply_algebra_lowering(expression)
    )
