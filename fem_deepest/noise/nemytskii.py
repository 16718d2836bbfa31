"""Superposition (Nemytskii) operators of blocks: ``G(u)`` in UFL at the points of a rule.

    int G(u) phi_i dW = sum_q w_q phi_i(x_q) G(u(x_q)) dW(x_q)
    int f(u) phi_i dx = sum_q w_q phi_i(x_q) f(u(x_q))

for all samples at once. The expression is compiled to vectorised NumPy, see
:class:`~fem_deepest.dynamics.program.Program`. It may hold ``u``, ``grad(u)``, the coordinates, constants,
and other functions of the mesh; constants and functions may change between two evaluations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from numpy.typing import NDArray
from ufl.algorithms.analysis import extract_coefficients, extract_constants

from fem_deepest.dynamics.program import Program
from fem_deepest.errors import InputError
from fem_deepest.spaces.quadrature import Rule

Array = NDArray[np.float64]

_CHUNK = 2**15  # points times samples at a time: temporaries stay in the cache


class Nemytskii:
    """``u -> G(u)`` on blocks.

    Args:
        expression: ``G`` in UFL: a scalar, or for a space of ``d`` components also something of the shape
            of ``u`` (a forcing) or a matrix (d, d) (acting on noise of ``d`` components).
        u: Function of the space of the rule that stands for the unknown in ``expression``.
        rule: Points: ``WhiteNoise.quadrature`` for noise, any other for integrals.

    Attributes:
        rule: The points.
        shape: Shape of ``G``.

    Raises:
        InputError: ``G`` has another shape, or holds what has no value at points.

    Collective.
    """

    def __init__(self, expression: Any, u: Any, rule: Rule) -> None:
        self.rule, self._u = rule, u
        G = ufl.as_ufl(expression)
        d = rule.blocks.bs
        allowed: list[tuple[int, ...]] = [()] if u.ufl_shape == () else [(), u.ufl_shape, (d, d)]
        if u.function_space != rule.V or G.ufl_shape not in allowed:
            raise InputError(
                f"G(u) has shape {G.ufl_shape} for u of shape {u.ufl_shape}, expected one of {allowed} "
                "and u in the space of the rule"
            )
        self.shape: tuple[int, ...] = G.ufl_shape
        self._constants = {f"c{i}": c for i, c in enumerate(extract_constants(G))}
        others = [f for f in extract_coefficients(G) if f != u]
        self._others = {f"f{i}": (f, rule.on(f.function_space)) for i, f in enumerate(others)}
        x = ufl.SpatialCoordinate(rule.V.mesh)
        symbols = {"u": u, "x": x, "slope": ufl.grad(u)}
        symbols |= self._constants | {name: f for name, (f, _) in self._others.items()}
        try:
            self._program = Program([G], symbols)
        except InputError as error:
            raise InputError(
                f"G(u) = {G} has no value at the points of a rule; use u, grad(u), the coordinates, "
                "constants, functions of the mesh, and elementary functions of them"
            ) from error
        self._slopes = self._program.uses("slope")

    def values(self, U: Array) -> Array:
        """``G(u)`` at the points, (n, S, *shape).

        Args:
            U: Block of ``u``, (owned, S).

        Collective.
        """
        samples = U.shape[1]
        fields = {"u": _pointwise(self.rule.evaluate(U), self.rule, self._u.ufl_shape)}
        if self._slopes:
            shape = ufl.grad(self._u).ufl_shape
            fields["slope"] = _pointwise(self.rule.gradient(U), self.rule, shape)
        fields["x"] = self.rule.x[:, None, :]
        for name, (f, rule) in self._others.items():
            fields[name] = _pointwise(rule.evaluate(rule.blocks.of(f)), rule, f.ufl_shape)
        constants = {name: np.asarray(c.value) for name, c in self._constants.items()}
        out = np.empty((self.rule.points, samples, *self.shape))
        for begin in range(0, self.rule.points, max(1, _CHUNK // samples)):
            some = slice(begin, begin + max(1, _CHUNK // samples))
            part = {name: field[some] for name, field in fields.items()}
            shape = out[some].shape[:2]
            out[some] = self._program.run(shape, **part, **constants)[0]
        return out

    def integrate(self, U: Array) -> Array:
        """The block ``int G(u) phi_i dx``, for ``G`` of the shape of ``u``.

        Args:
            U: Block of ``u``, (owned, S).

        Raises:
            InputError: ``G`` has not the shape of ``u``.

        Collective.
        """
        if self.shape != self._u.ufl_shape:
            raise InputError(
                f"a forcing of shape {self.shape} was given for u of shape {self._u.ufl_shape}; give "
                "one of the same shape"
            )
        return self.rule.integrate(_rows(self.values(U)))

    def load(self, U: Array, dW: Array) -> Array:
        """The block ``int G(u) phi_i dW``, the Ito increment if ``U`` is known before the step.

        Args:
            U: Block of ``u``, (owned, S).
            dW: Increments at the points, (n * bs, S), as from :meth:`.WhiteNoise.points`.

        Raises:
            InputError: ``G`` is neither a scalar nor a matrix (bs, bs).

        Collective.
        """
        bs = self.rule.blocks.bs
        if self.shape not in ((), (bs, bs)):
            raise InputError(
                f"G(u) has shape {self.shape} and no product with a noise of {bs} components; give a "
                f"scalar or a matrix of shape {(bs, bs)}"
            )
        G = self.values(U)
        noise = dW.reshape(-1, bs, dW.shape[1])
        if self.shape:
            product = np.einsum("qsij,qjs->qis", G, noise)
        else:
            product = G[:, None, :] * noise
        return self.rule.integrate(product.reshape(dW.shape))


def _pointwise(rows: Array, rule: Rule, shape: tuple[int, ...]) -> Array:
    """Rows (n * bs, S, ...) as an array (n, S, *shape), a view."""
    split = rows.reshape(rule.points, rule.blocks.bs, *rows.shape[1:])
    return np.moveaxis(split, 1, 2).reshape(rule.points, rows.shape[1], *shape)


def _rows(values: Array) -> Array:
    """Values (n, S, ...) as rows (n * bs, S)."""
    n, samples = values.shape[:2]
    return np.moveaxis(values.reshape(n, samples, -1), 2, 1).reshape(-1, samples)
