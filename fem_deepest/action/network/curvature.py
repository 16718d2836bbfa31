"""How far the misfit of a network can be from convex: a provable bound, hence uniqueness.

Write ``A(u) = J(u) + 1/2 |u|_P^2`` with the misfit ``J = (1/K) sum_k Phi(y_k) >= 0`` and, for the unknown
``u = (theta, [C | c], [E | e], xi_0, xi)`` of weight field, readout, lift and forcings, the metric

    |u|_P^2 = lambda |(theta, C, E)|_Q^2 + (1/K) sum_k eta_k^2,
    eta_k^2 = R_0 |xi_0k|^2 + R_f int |xi_k|^2 dt.

This is the metric without its terms in ``ell``; with them it is only larger, and what follows holds all
the more.

Every minimiser lies in a ball, because ``1/2 |u|_P^2 <= A(u) <= A(0) = J(0)``:

    |u|_P <= B = sqrt(2 J(0)),   so   |(theta, C, E)|_Q <= rho = B / sqrt(lambda),   eta_k <= sqrt(K) B.

If ``J''(u)[d, d] >= -c |d|_P^2`` in that ball, which is convex, with ``c < 1``, then ``A'' >= (1 - c) P``
there: the minimiser is unique, and in the metric its lowest eigenvalue is at least ``1 - c``. As ``c``
falls when ``lambda`` grows, there is a threshold above which this is so.

**The bound c.** ``Phi`` is convex, so ``J''[d, d] >= (1/K) sum_k Phi'(y_k) . y_k''[d, d]``, and it
remains to bound ``|Phi'(y)|`` and ``|y''[d, d]|``. Norms of states are ``|x|^2 = sum_i m_i x_i^2``
with the lumped masses ``m_i`` of the neurons, the least of them ``m``; then ``|W_h x + b| <= |theta(t)|
sqrt(1 + |x|^2)`` and ``|W_h| <= |theta(t)|`` with the Hilbert-Schmidt norm ``|theta(t)|^2 = sum_ij m_i m_j
w_ij^2 + sum_i m_i b_i^2`` that ``Q`` integrates. Sobolev's inequality
with its best constant, which is the largest value ``G(0, 0)`` of the Green's function of ``kappa^2 -
d^2/dt^2`` on ``(0, T)`` with natural ends, gives for every piecewise linear field

    |theta(t)| <= S |theta|_Q,     S^2 = coth(kappa T) / kappa.

Let ``|sigma| <= s``, ``|sigma'| <= s_1``, ``|sigma''| <= s_2``, and let ``alpha, beta, gamma, eps_k`` be
the norms of the parts of ``d`` in weights, readout, lift and the forcing of a sample. The lift moves
``x(0)`` by at most ``gamma l``, ``l^2 = 1 + |z|^2``, and a forcing does no more than if it all came
at the start, ``|xi_0| + int |xi| dt <= eta f``, ``f^2 = 1/R_0 + T/R_f``: the bounds below grow with depth.
So with ``delta = gamma l + eps f``, ``X >= |x|``, ``Theta = S rho`` and

    |x'[d]| <= alpha u + delta v,    |x''[d, d]| <= alpha^2 p + 2 alpha delta q + delta^2 r,

the derivatives of ``F = -a x + sigma(z)``, ``z = W_h x + b``, are bounded by

    |z'|  <= alpha z_1 + delta z_2,   z_1 = Theta u + S sqrt(1 + X^2),   z_2 = Theta v,
    |F|   <= a X + min( s |1|, |sigma(0)| |1| + s_1 Theta sqrt(1 + X^2) ),
    |F'|  <= alpha (a u + s_1 z_1) + delta (a v + s_1 z_2),
    |F''| <= (a + s_1 Theta) |x''| + 2 s_1 S alpha |x'| + s_2 m^{-1/2} |z'|^2;

the last term because ``|v w| <= max|v| |w|`` and ``max|v| <= m^{-1/2} |v|``. The Runge-Kutta scheme
itself carries ``X, u, v, p, q, r`` through the depth, from ``X = |x(0)| + f sqrt(K) B``, ``v = 1`` and
zeros, so the bound holds for the discrete network as it is computed; an implicit stage solves its
own bound, as long as ``h a_jj (a + s_1 Theta) < 1``, else there is none. (All coefficients are
nonnegative and no abscissa is beyond 1: "all at the start" is the worst case of a step too.) At the
end, with a linear readout ``y = C M_S x + c``,

    |y''[d, d]| <= rho (alpha^2 p + 2 alpha delta q + delta^2 r) + 2 beta (alpha u + delta v),

and ``|Phi'(y)| <= sqrt(2)`` for the cross-entropy, ``R_m (|y| + |target|)`` for least squares, with
``|y| <= rho sqrt(1 + X^2)``; a readout that is fixed has its norm in place of ``rho`` and no ``beta``.
The sum over the samples is a quadratic form in all ``eps_k`` and in
``w = (alpha, beta, gamma)``: ``w . M w + (2/K) sum_k eps_k b_k . w + (1/K) sum_k e_k eps_k^2``. By Cauchy
and Schwarz it is at most that of the 4 x 4 matrix ``[[M, g], [g, max e_k]]``, ``g_j^2 = mean (b_k)_j^2``,
in ``(w, sqrt(mean eps_k^2))``, and ``c`` is its largest eigenvalue relative to the metric, ``diag(lambda,
lambda, lambda, 1)``. (Rounding is not accounted for.)
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.path import require_dense
from fem_deepest.errors import InputError
from fem_deepest.network.activation import slopes
from fem_deepest.network.loss import CrossEntropy, LeastSquares
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]

_BOUND = 1e12  # a threshold beyond this is none


class MisfitCurvature:
    """Bound ``c`` of the negative curvature of the misfit of a network, in the metric.

    Args:
        action: The action; its own ``lambda`` does not matter, its other settings do.

    Attributes:
        at_zero: ``J(0)``.

    Raises:
        InputError: The loss is unknown, the coupling is not dense, or ``M_S`` is not lumped.

    Collective on the action's grid: construction and every method.
    """

    def __init__(self, action: NetworkAction) -> None:
        if not isinstance(action.loss, CrossEntropy | LeastSquares):
            raise InputError(
                "the bound on the curvature is known for cross-entropy and least squares"
            )
        network = action.network
        require_dense(network, "the bound on the curvature of the misfit")
        if not network.index.factor.mass_lumped:
            raise InputError(
                "the bound on the curvature of the misfit got the consistent mass, expected a lumped one, "
                'whose norm of the states it takes; set mass = "lumped"'
            )
        self._network, self._loss, self._comm = network, action.loss, action.grid.data
        self._weights = network.index.weights
        self._least = float(self._weights.min())
        self._samples, self._kappa = action.samples, action.metric.kappa
        depth = float(action.network.depth.nodes[-1])
        self._forcing = np.sqrt(1.0 / action.input_precision + depth / action.model_precision)
        tiles = action.tiles
        self._inputs = np.concatenate(
            [np.zeros(0), *(np.linalg.norm(z, axis=0) for z in tiles.inputs)]
        )
        none = Parameters.view(np.zeros(network.shapes.size), network.shapes)
        self._start = np.concatenate(
            [np.zeros(0), *(self._norm(network.lift(none, z)) for z in tiles.inputs)]
        )
        # Norm of a fixed readout.
        matrix = network.read(none, np.eye(network.index.neurons)) / np.sqrt(self._weights)
        self._fixed = float(np.linalg.norm(matrix, 2))
        self._targets = np.zeros_like(self._inputs)
        if isinstance(action.loss, LeastSquares):
            sizes = [np.linalg.norm(t, axis=0) for t in tiles.targets]
            self._targets = np.concatenate([np.zeros(0), *sizes])
        zero = action.create()
        self.at_zero = action.value(zero)
        zero.destroy()

    @property
    def radius(self) -> float:
        """``B``: every minimiser lies in ``|u|_P <= B``."""
        return float(np.sqrt(2.0 * self.at_zero))

    def bound(self, strength: float) -> float:
        """``c`` of the action with that ``lambda``; infinite where the steps are too long for a bound."""
        network = self._network
        rho = self.radius / np.sqrt(strength)
        with np.errstate(over="ignore", invalid="ignore"):
            x, u, v, p, q, r = self._states(rho)
            if network.linear_readout:
                y, scale = rho * np.sqrt(1.0 + x**2), rho
            else:
                y, scale, u, v = self._fixed * x, self._fixed, 0.0 * u, 0.0 * v
            weight = self._residual(y)
            lift, f = self._lift, self._forcing
            # alpha alpha, alpha beta, alpha gamma, beta gamma, gamma gamma; then those with eps.
            with_a = [scale * p, u, scale * q * lift, v * lift, scale * r * lift**2]
            with_eps = [scale * q * f, v * f, scale * r * f * lift]
            local = [np.sum(weight * entry) for entry in with_a]
            local += [np.sum((weight * entry) ** 2) for entry in with_eps]
            total, most = np.empty(len(local)), np.empty(1)
            self._comm.Allreduce(np.array(local) / self._samples, total, op=MPI.SUM)
            own = np.array([np.max(weight * scale * r * f**2, initial=0.0)])
            self._comm.Allreduce(own, most, op=MPI.MAX)
        if not (np.isfinite(total).all() and np.isfinite(most).all()):
            return np.inf
        aa, ab, ag, bg, gg = total[:5] / strength
        ea, eb, eg = np.sqrt(total[5:] / strength)
        form = [[aa, ab, ag, ea], [ab, 0.0, bg, eb], [ag, bg, gg, eg], [ea, eb, eg, most[0]]]
        return float(np.linalg.eigvalsh(form)[-1])

    def threshold(self) -> float:
        """The least ``lambda`` above which the minimiser is provably unique; infinite if none is found."""
        low, high = 0.0, 1.0
        while not self.bound(high) < 1.0:
            low, high = high, 2.0 * high
            if high > _BOUND:
                return np.inf
        while high - low > 1e-10 * high:
            middle = 0.5 * (low + high)
            if self.bound(middle) < 1.0:
                high = middle
            else:
                low = middle
        return high

    @property
    def _lift(self) -> Array:
        """``l`` of every sample, zero without a trained lift."""
        if not self._network.linear_lift:
            return np.zeros_like(self._inputs)
        return np.sqrt(1.0 + self._inputs**2)

    def _norm(self, x: Array) -> Array:
        """``|x|`` of states (N, K)."""
        return np.sqrt(self._weights @ x**2)

    def _residual(self, y: Array) -> Array:
        """Bound of ``|Phi'(y)|`` of every sample."""
        if isinstance(self._loss, LeastSquares):
            return np.asarray(self._loss.precision * (y + self._targets))
        return np.full_like(y, np.sqrt(2.0))

    def _states(self, rho: float) -> Array:
        """``X, u, v, p, q, r`` at ``t = T`` of every sample, shape (6, K)."""
        network, scheme = self._network, self._network.scheme
        state = np.zeros((6, self._inputs.size))
        if network.linear_lift:
            state[0] = rho * self._lift
        else:
            state[0] = self._start
        state[0] += self._forcing * np.sqrt(self._samples) * self.radius
        state[2] = 1.0
        for h in network.depth.steps:
            slopes = list[Array]()
            for j in range(scheme.stages):
                known = state + h * sum(
                    abs(a) * k for a, k in zip(scheme.a[j], slopes, strict=False)
                )
                slopes.append(self._slope(known, h * scheme.a[j][j], rho))
            state = state + h * sum(b * k for b, k in zip(scheme.b, slopes, strict=True))
        return state

    def _slope(self, known: Array, implicit: float, rho: float) -> Array:
        """Bounds of the stage's ``F, F', F''`` where ``X = known + implicit F(X)``."""
        network = self._network
        s, a = slopes(network.activation), network.leak
        sobolev = np.sqrt(1.0 / (np.tanh(self._kappa * network.depth.nodes[-1]) * self._kappa))
        theta = sobolev * rho
        one = np.sqrt(self._weights.sum())
        growth = a + s.first * theta
        out = np.empty_like(known)

        def solved(value: Array, source: Array | float, rate: float) -> tuple[Array, Array]:
            """State and slope of ``X = value + implicit (source + rate X)``."""
            if implicit * rate >= 1.0:
                return np.full_like(value, np.inf), np.full_like(value, np.inf)
            X = np.asarray((value + implicit * source) / (1.0 - implicit * rate))
            return X, np.asarray(source + rate * X)

        # sqrt(1 + X^2) <= 1 + X where the stage has to be solved for X.
        bounded, _ = solved(known[0], s.most * one, a)
        linear, _ = solved(known[0], s.zero * one + s.first * theta, growth)
        X = np.fmin(bounded, linear)
        root = np.sqrt(1.0 + X**2)
        out[0] = a * X + np.fmin(s.most * one, s.zero * one + s.first * theta * root)
        u, out[1] = solved(known[1], s.first * sobolev * root, growth)
        v, out[2] = solved(known[2], 0.0, growth)
        z1, z2, bend = theta * u + sobolev * root, theta * v, s.second / np.sqrt(self._least)
        turn = s.first * sobolev
        _, out[3] = solved(known[3], 2.0 * turn * u + bend * z1**2, growth)
        _, out[4] = solved(known[4], turn * v + bend * z1 * z2, growth)
        _, out[5] = solved(known[5], bend * z2**2, growth)
        return out
