# # A system of one's own
#
# `demos/user_dynamics.toml` anneals the dynamics of this file. FitzHugh and Nagumo's nerve has a fast
# voltage $v$ and a slow recovery $r$,
#
# $$ v' = v - v^3/3 - r + I, \qquad r' = \varepsilon\,(v + a - b\,r), \qquad \varepsilon = 0.08, $$
#
# and fires again and again at the current $I = 0.5$. (If $r$ is never seen, then $I$ cannot be estimated
# too: $r + c$, $I + c$ and $a + b\,c$ give the same voltage. In the saddle form the command refuses it and
# names what nothing determines.) The command asks for an object of this file by its name,
# `dynamics.object`. There are two ways to make one.

from __future__ import annotations

import numpy as np
import ufl

from fem_deepest.dynamics.byhand import ByHand
from fem_deepest.dynamics.named import Named
from fem_deepest.dynamics.symbolic import Symbolic

EPSILON, CURRENT = 0.08, 0.5
PARAMETERS = ("a", "b")


# ## In UFL
#
# The derivatives are UFL's own.


def field(t, x, w):  # type: ignore[no-untyped-def]
    """``F`` in UFL: x = (v, r), w = (a, b)."""
    v, r = x[0], x[1]
    a, b = w[0], w[1]
    return ufl.as_vector([v - v**3 / 3 - r + CURRENT, EPSILON * (v + a - b * r)])


in_ufl = Symbolic(2, PARAMETERS, field, name="FitzHugh-Nagumo")


# ## In NumPy, by hand
#
# Three functions of arrays with any leading axes: all cells, points and paths go through one call. A
# wrong derivative is found at the start by its Taylor test, and named.


def value(t, x, w):  # type: ignore[no-untyped-def]
    """``F``, (..., 2)."""
    v, r = x[..., 0], x[..., 1]
    a, b = w[..., 0], w[..., 1]
    voltage = np.broadcast_to(v - v**3 / 3 - r + CURRENT, np.broadcast_shapes(v.shape, a.shape))
    return np.stack([voltage, EPSILON * (v + a - b * r)], axis=-1)


def jacobian(t, x, w):  # type: ignore[no-untyped-def]
    """``F_x`` (..., 2, 2) and ``F_w`` (..., 2, 2)."""
    v, r, b = np.broadcast_arrays(x[..., 0], x[..., 1], w[..., 1])
    f_x, f_w = np.zeros((2, *v.shape, 2, 2))
    f_x[..., 0, 0], f_x[..., 0, 1] = 1.0 - v**2, -1.0
    f_x[..., 1, 0], f_x[..., 1, 1] = EPSILON, -EPSILON * b
    f_w[..., 1, 0], f_w[..., 1, 1] = EPSILON, -EPSILON * r
    return f_x, f_w


def curvature(t, x, w, p):  # type: ignore[no-untyped-def]
    """``p . F_xx`` (..., 2, 2), ``p . F_xw`` (..., 2, 2) and ``p . F_ww`` (..., 2, 2)."""
    v, p_v, p_r, _ = np.broadcast_arrays(x[..., 0], p[..., 0], p[..., 1], w[..., 0])
    f_xx, f_xw, f_ww = np.zeros((3, *v.shape, 2, 2))
    f_xx[..., 0, 0] = -2.0 * v * p_v
    f_xw[..., 1, 1] = -EPSILON * p_r
    return f_xx, f_xw, f_ww


by_hand = ByHand(2, PARAMETERS, value, jacobian, curvature, name="FitzHugh-Nagumo")

# ## With values to try it with
#
# A twin needs true parameters and a start, which the configuration can give (`data.parameters`,
# `data.start`), or the system brings along. For your own data neither is needed.

system = Named(in_ufl, typical=(0.7, 0.8), start=(-1.0, 1.0), spin_up=50.0)
