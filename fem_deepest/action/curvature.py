"""How far the misfit of a network can be from convex: a provable bound, hence uniqueness.

Write ``A(u) = J(u) + lambda/2 |u|_Q^2`` with the misfit ``J = (1/K) sum_k Phi(y_k) >= 0`` and the prior
``P = lambda Q``; the unknown ``u = (theta, [C | c], [E | e])`` is the weight field, the readout and the
lift. Every minimiser lies in a ball, because ``lambda/2 |u|_Q^2 <= A(u) <= A(0) = J(0)``:

    |u|_Q <= rho = sqrt(2 J(0) / lambda).

If ``J''(u)[d, d] >= -c(rho) |d|_Q^2`` in that ball, which is convex, then ``A'' >= (lambda - c) Q`` there.
So for ``lambda > c(rho)`` the minimiser is unique, and in the metric its lowest eigenvalue is at least
``1 - c/lambda``. As ``rho`` falls with ``lambda`` and ``c`` grows with ``rho``, there is a threshold above
which this is so.

**The bound c.** ``Phi`` is convex, so ``J''[d, d] >= (1/K) sum_k Phi'(y_k) . y_k''[d, d]``, and it
remains to bound ``|Phi'(y)|`` and ``|y''[d, d]|``. Norms of states are ``|x|^2 = m sum_i x_i^2`` with
the mass ``m`` of a neuron; then ``|W_h x + b| <= |theta(t)| sqrt(1 + |x|^2)`` and ``|W_h| <= |theta(t)|``
with the Hilbert-Schmidt norm ``|theta(t)|^2 = |W_h|_F^2 + m |b|^2`` that ``Q`` integrates. Sobolev's
inequality with its best constant, which is the largest value ``G(0, 0)`` of the Green's function of
``kappa^2 - d^2/dt^2`` on ``(0, T)`` with natural ends, gives for every piecewise linear field

    |theta(t)| <= S |theta|_Q,     S^2 = coth(kappa T) / kappa.

Let ``|sigma| <= s``, ``|sigma'| <= s_1``, ``|sigma''| <= s_2``, and let ``alpha, beta, gamma`` be the
norms of the parts of ``d`` in weights, readout and lift, ``alpha^2 + beta^2 + gamma^2 = |d|_Q^2``. With
``X >= |x|``, ``Theta = S rho`` and

    |x'[d]| <= alpha u + gamma v,    |x''[d, d]| <= alpha^2 p + 2 alpha gamma q + gamma^2 r,

the derivatives of ``F = -a x + sigma(z)``, ``z = W_h x + b``, are bounded by

    |z'|  <= alpha z_1 + gamma z_2,   z_1 = Theta u + S sqrt(1 + X^2),   z_2 = Theta v,
    |F|   <= a X + min( s |1|, |sigma(0)| |1| + s_1 Theta sqrt(1 + X^2) ),
    |F'|  <= alpha (a u + s_1 z_1) + gamma (a v + s_1 z_2),
    |F''| <= (a + s_1 Theta) |x''| + 2 s_1 S alpha |x'| + s_2 m^{-1/2} |z'|^2;

the last term because ``|v w| <= max|v| |w|`` and ``max|v| <= m^{-1/2} |v|``. The Runge-Kutta scheme
itself, with the moduli of its coefficients, carries ``X, u, v, p, q, r`` through the depth, so the
bound holds for the discrete network as it is computed; an implicit stage solves its own bound, as
long as ``h a_jj (a + s_1 Theta) < 1``, else there is none. At the end, with a linear readout,

    |y''[d, d]| <= m^{-1/2} [ rho (alpha^2 p + 2 alpha gamma q + gamma^2 r) + 2 beta (alpha u + gamma v) ],

and ``|Phi'(y)| <= sqrt(2)`` for the cross-entropy, ``R_m (|y| + |target|)`` for least squares, with
``|y| <= rho sqrt(1 + X^2/m)``. ``c(rho)`` is the largest eigenvalue of the mean over the samples of
these quadratic forms in ``(alpha, beta, gamma)``. (Rounding is not accounted for.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network import NetworkAction
from fem_deepest.errors import InputError
from fem_deepest.network.activation import Activation
from fem_deepest.network.loss import CrossEntropy, LeastSquares

Array = NDArray[np.float64]

_BOUND = 1e12  # a threshold beyond this is none


@dataclass(frozen=True)
class _Slopes:
    """``s``, ``|sigma(0)|``, ``s_1``, ``s_2`` of an activation."""

    most: float
    zero: float
    first: float
    second: float


def _slopes(activation: Activation) -> _Slopes:
    if activation.name == "tanh":
        return _Slopes(1.0, 0.0, 1.0, 4.0 / np.sqrt(27.0))
    if activation.name == "sigmoid":
        return _Slopes(1.0, 0.5, 0.25, 1.0 / np.sqrt(108.0))
    # Softplus: sigma(0) = log(2)/beta tells its sharpness, and sigma'' is largest there, beta/4.
    zero = np.zeros(1)
    activation.value(zero, zero)
    return _Slopes(np.inf, float(zero[0]), 1.0, float(np.log(2.0) / zero[0]) / 4.0)


class MisfitCurvature:
    """Bound ``c(rho)`` of the negative curvature of the misfit of a network.

    Args:
        action: Action with the strong constraint and a clamped input.

    Attributes:
        at_zero: ``J(0)``.

    Raises:
        InputError: The action has forcings.

    Collective on the action's grid: construction and every method.
    """

    def __init__(self, action: NetworkAction) -> None:
        if np.isfinite(action.model_precision) or np.isfinite(action.input_precision):
            raise InputError(
                "the bound on the curvature holds for the strong constraint with a clamped input; "
                "leave R_f and R_0 infinite"
            )
        self._network, self._loss, self._comm = action.network, action.loss, action.grid.data
        self._samples, self._kappa = action.samples, action.metric.kappa
        tiles = action.tiles
        self._inputs = np.concatenate(
            [np.zeros(0), *(np.linalg.norm(z, axis=0) for z in tiles.inputs)]
        )
        self._targets = np.zeros_like(self._inputs)
        if isinstance(action.loss, LeastSquares):
            sizes = [np.linalg.norm(t, axis=0) for t in tiles.targets]
            self._targets = np.concatenate([np.zeros(0), *sizes])
        zero = action.create()
        self.at_zero = action.value(zero)
        zero.destroy()

    def radius(self, strength: float) -> float:
        """``rho``: every minimiser of the action with this ``lambda`` lies in ``|u|_Q <= rho``."""
        return float(np.sqrt(2.0 * self.at_zero / strength))

    def bound(self, radius: float) -> float:
        """``c(rho)``; infinite where the steps are too long for a bound."""
        network = self._network
        m = network.index.mass
        with np.errstate(over="ignore", invalid="ignore"):
            x, u, v, p, q, r = self._states(radius)
            if network.linear_readout:
                y, scale = radius * np.sqrt(1.0 + x**2 / m), radius
            else:
                y, scale = x / np.sqrt(m), 1.0
            weight = self._residual(y) / np.sqrt(m)
            entries = [scale * p, scale * q, scale * r]
            entries += [u, v] if network.linear_readout else [0.0 * u, 0.0 * v]
            local = np.array([np.sum(weight * entry) for entry in entries]) / self._samples
        total = np.empty_like(local)
        self._comm.Allreduce(local, total, op=MPI.SUM)
        if not np.isfinite(total).all():
            return np.inf
        pp, qq, rr, uu, vv = total
        return float(np.linalg.eigvalsh([[pp, uu, qq], [uu, 0.0, vv], [qq, vv, rr]])[-1])

    def threshold(self) -> float:
        """The least ``lambda`` above which the minimiser is provably unique; infinite if none is found."""
        low, high = 0.0, 1.0
        while not self.bound(self.radius(high)) < high:
            low, high = high, 2.0 * high
            if high > _BOUND:
                return np.inf
        while high - low > 1e-10 * high:
            middle = 0.5 * (low + high)
            if self.bound(self.radius(middle)) < middle:
                high = middle
            else:
                low = middle
        return high

    def _residual(self, y: Array) -> Array:
        """Bound of ``|Phi'(y)|`` of every sample."""
        if isinstance(self._loss, CrossEntropy):
            return np.full_like(y, np.sqrt(2.0))
        if isinstance(self._loss, LeastSquares):
            return np.asarray(self._loss.precision * (y + self._targets))
        raise InputError("the bound on the curvature is known for cross-entropy and least squares")

    def _states(self, radius: float) -> Array:
        """``X, u, v, p, q, r`` at ``t = T`` of every sample, shape (6, K)."""
        network, scheme = self._network, self._network.scheme
        m = network.index.mass
        state = np.zeros((6, self._inputs.size))
        size = np.sqrt(m) * self._inputs
        if network.linear_lift:
            size = np.sqrt(m * (1.0 + self._inputs**2))
            state[2] = size
            size = radius * size
        state[0] = size
        for h in network.depth.steps:
            slopes = list[Array]()
            for j in range(scheme.stages):
                known = state + h * sum(
                    abs(a) * k for a, k in zip(scheme.a[j], slopes, strict=False)
                )
                slopes.append(self._slope(known, h * scheme.a[j][j], radius))
            state = state + h * sum(b * k for b, k in zip(np.abs(scheme.b), slopes, strict=True))
        return state

    def _slope(self, known: Array, implicit: float, radius: float) -> Array:
        """Bounds of the stage's ``F, F', F''`` where ``X = known + implicit F(X)``."""
        network = self._network
        s, a, m = _slopes(network.activation), network.leak, network.index.mass
        sobolev = np.sqrt(1.0 / (np.tanh(self._kappa * network.depth.nodes[-1]) * self._kappa))
        theta = sobolev * radius
        one = np.sqrt(m * network.index.neurons)
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
        z1, z2, bend = theta * u + sobolev * root, theta * v, s.second / np.sqrt(m)
        turn = s.first * sobolev
        _, out[3] = solved(known[3], 2.0 * turn * u + bend * z1**2, growth)
        _, out[4] = solved(known[4], turn * v + bend * z1 * z2, growth)
        _, out[5] = solved(known[5], bend * z2**2, growth)
        return out
