"""Dynamics written in UFL: the derivatives are UFL's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import basix.ufl
import numpy as np
import ufl
from numpy.typing import NDArray

from fem_deepest.dynamics.program import Program
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Symbolic:
    """``dx/dt = F(x, w; t)`` from a function that builds a UFL vector.

    For example a pendulum: ``Symbolic(2, ("g",), lambda t, x, w: as_vector([x[1], -w[0]*sin(x[0])]))``.

    Args:
        states: ``D``.
        parameters: Names of the ``P`` parameters; may be empty.
        field: ``field(t, x, w)`` with a symbolic scalar and two symbolic vectors; returns a UFL vector
            of dimension ``D``, or a list of ``D`` scalars.
        name: What to call it.

    Raises:
        InputError: ``F`` is no vector of dimension ``D``, or holds what has no value here.

    Nothing here is collective.
    """

    def __init__(
        self,
        states: int,
        parameters: Sequence[str],
        field: Callable[[Any, Any, Any], Any],
        *,
        name: str = "user",
    ) -> None:
        self.name, self.states, self.parameters = name, states, tuple(parameters)
        # Constants need a domain to live on, though nothing is ever assembled on it.
        domain = ufl.Mesh(basix.ufl.element("Lagrange", "interval", 1, shape=(1,)))
        t = ufl.Constant(domain)
        x, p = (ufl.Constant(domain, shape=(states,)) for _ in range(2))
        # UFL has no vectors without components; one that nobody asks for does no harm.
        w = ufl.Constant(domain, shape=(max(1, len(self.parameters)),))
        x_, w_ = ufl.variable(x), ufl.variable(w)
        f = field(t, x_, w_)
        f = ufl.as_vector(f) if isinstance(f, list | tuple) else ufl.as_ufl(f)
        if f.ufl_shape != (states,):
            raise InputError(
                f"{name}: F in UFL has shape {f.ufl_shape}, expected ({states},): one entry for each "
                "state"
            )
        symbols = {"t": t, "x": x, "w": w}
        along = ufl.dot(p, f)
        in_x, in_w = ufl.diff(along, x_), ufl.diff(along, w_)
        self._value = Program([f], symbols)
        self._jacobian = Program([ufl.diff(f, x_), ufl.diff(f, w_)], symbols)
        self._adjoint = Program([in_x, in_w], symbols | {"p": p})
        self._curvature = Program(
            [ufl.diff(in_x, x_), ufl.diff(in_x, w_), ufl.diff(in_w, w_)], symbols | {"p": p}
        )

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        return self._value.run(_lead(t, x, w), t=t, x=x, w=w)[0]

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        f_x, f_w = self._jacobian.run(_lead(t, x, w), t=t, x=x, w=w)
        return f_x, f_w[..., : len(self.parameters)]

    def adjoint(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Transposable`."""
        in_x, in_w = self._adjoint.run(_lead(t, x, w, p), t=t, x=x, w=w, p=p)
        return in_x, in_w[..., : len(self.parameters)]

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        count = len(self.parameters)
        f_xx, f_xw, f_ww = self._curvature.run(_lead(t, x, w, p), t=t, x=x, w=w, p=p)
        return f_xx, f_xw[..., :count], f_ww[..., :count, :count]


def _lead(t: Array, *vectors: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(np.shape(t), *(v.shape[:-1] for v in vectors))
