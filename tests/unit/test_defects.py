"""Transcriptions and defects: polynomials, orders and derivatives that are known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS, transcription
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

ENDS = np.array([0.0, 0.3, 0.5, 1.1])
names = pytest.mark.parametrize("name", TRANSCRIPTIONS)


class Oscillator:
    """``x'' = -w^2 x + t``-like test system ``F = (x_2 w + t, -w x_1 x_2)``: every derivative is there."""

    name, states, parameters = "oscillator", 2, ("w",)

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return np.stack(
            [x[..., 1] * w[..., 0] ** 2 + t, -w[..., 0] * x[..., 0] * x[..., 1]], axis=-1
        )

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        a, b, c = np.broadcast_arrays(x[..., 0], x[..., 1], w[..., 0])
        zero = np.zeros_like(a)
        f_x = np.stack([np.stack([zero, c**2], -1), np.stack([-c * b, -c * a], -1)], -2)
        return f_x, np.stack([2 * b * c, -a * b], -1)[..., None]

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        a, b, c = np.broadcast_arrays(x[..., 0], x[..., 1], w[..., 0])
        p, q = p[..., 0], p[..., 1]
        zero = np.zeros_like(p * a)
        f_xx = np.stack([np.stack([zero, -c * q], -1), np.stack([-c * q, zero], -1)], -2)
        f_xw = np.stack([-q * b, 2 * c * p - q * a], -1)[..., None]
        return f_xx, f_xw, (2 * b * p)[..., None, None]


def _plain(name: str, x: Array, w: Array, varying: bool) -> Array:
    """Defects of the oscillator written out by hand, (n, R, 2); complex arguments are fine."""

    def f(t: float, y: Array, c: Array) -> Array:
        return np.array([y[1] * c[0] ** 2 + t, -c[0] * y[0] * y[1]])

    out = []
    for i, (a, h) in enumerate(zip(ENDS[:-1], np.diff(ENDS), strict=True)):

        def at(s: float, i: int = i) -> Array:
            return (1 - s) * w[i] + s * w[i + 1] if varying else w

        if name in ("euler", "midpoint"):
            s = {"euler": 0.0, "midpoint": 0.5}[name]
            y = (1 - s) * x[i] + s * x[i + 1]
            out.append([(x[i + 1] - x[i]) / h - f(a + s * h, y, at(s))])
            continue
        l, m, r = x[2 * i : 2 * i + 3]
        if name == "gauss2":
            cell = []
            for s in (0.5 - 3**-0.5 / 2, 0.5 + 3**-0.5 / 2):
                y = l * (1 - s) * (1 - 2 * s) + m * 4 * s * (1 - s) + r * s * (2 * s - 1)
                slope = l * (4 * s - 3) + m * (4 - 8 * s) + r * (4 * s - 1)
                cell.append(slope / h - f(a + s * h, y, at(s)))
            out.append(cell)
        else:
            g = [f(a + s * h, y, at(s)) for s, y in ((0.0, l), (0.5, m), (1.0, r))]
            out.append(
                [
                    (r - l) / h - (g[0] + 4 * g[1] + g[2]) / 6,
                    (m - (l + r) / 2) / h - (g[0] - g[2]) / 8,
                ]
            )
    return np.array(out)


def _path(name: str, varying: bool) -> tuple[Defects, Array, Array]:
    defects = Defects(Oscillator(), transcription(name), ENDS, varying)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((defects.nodes.size, 2))
    return defects, x, rng.standard_normal((4, 1) if varying else 1)


def _local(defects: Defects, x: Array, w: Array) -> Array:
    """Local unknowns of a direction, (n, L)."""
    x, n = defects.gather(x).reshape(3, -1), len(ENDS) - 1
    if defects.varying:
        return np.concatenate([x, np.concatenate([w[:-1], w[1:]], axis=1)], axis=1)
    return np.concatenate([x, np.tile(w, (n, 1))], axis=1)


both = pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])


@names
@both
def test_defects_and_derivatives_are_those_by_hand(name: str, varying: bool) -> None:
    defects, x, w = _path(name, varying)
    rng = np.random.default_rng(1)
    dx, dw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    np.testing.assert_allclose(defects.value(x, w), _plain(name, x, w, varying), atol=1e-14)
    value, jacobian = defects.linearise(x, w)
    np.testing.assert_array_equal(value, defects.value(x, w))
    step = _plain(name, x + 1e-30j * dx, w + 1e-30j * dw, varying).imag * 1e30
    direction = _local(defects, dx, dw)
    got = np.einsum("nril,nl->nri", jacobian, direction)
    np.testing.assert_allclose(got, step, atol=1e-13)
    p = rng.standard_normal(value.shape)
    transposed = np.sum(defects.adjoint(x, w, p) * direction)
    assert transposed == pytest.approx(np.sum(p * step), rel=1e-13)


@names
@both
def test_curvature_is_the_derivative_of_the_linearisation(name: str, varying: bool) -> None:
    defects, x, w = _path(name, varying)
    rng = np.random.default_rng(2)
    dx, dw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    p = rng.standard_normal(defects.value(x, w).shape)
    curvature = defects.curvature(x, w, p)
    np.testing.assert_array_equal(curvature, np.swapaxes(curvature, -1, -2))
    direction = _local(defects, dx, dw)

    def contracted(e: float) -> Array:
        return np.einsum("nri,nril->nl", p, defects.linearise(x + e * dx, w + e * dw)[1])

    # Linearisations are quadratic in the unknowns here: central differences are exact.
    e = 1e-3
    expected = (contracted(e) - contracted(-e)) / (2 * e)
    np.testing.assert_allclose(np.einsum("nlk,nk->nl", curvature, direction), expected, atol=1e-10)


@names
def test_many_paths_at_once(name: str) -> None:
    defects = Defects(Lorenz96(5), transcription(name), ENDS)
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((4, defects.nodes.size, 5)), rng.standard_normal((4, 1))
    value, jacobian = defects.linearise(x, w)
    curvature = defects.curvature(x, w, value)
    for k in range(4):
        one = defects.linearise(x[k], w[k])
        np.testing.assert_allclose(value[k], one[0], atol=1e-14)
        np.testing.assert_allclose(jacobian[k], one[1], atol=1e-14)
        np.testing.assert_allclose(
            defects.adjoint(x, w, value)[k], defects.adjoint(x[k], w[k], value[k]), atol=1e-13
        )
        np.testing.assert_allclose(
            curvature[k], defects.curvature(x[k], w[k], value[k]), atol=1e-13
        )


class Decay:
    """``x' = -w x``."""

    name, states, parameters = "decay", 1, ("w",)

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return -w * x

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        return -w[..., None] * np.ones_like(x)[..., None], -x[..., None]

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        zero = np.zeros((*x.shape, 1))
        return zero, -p[..., None], zero


@names
def test_order_against_the_exponential(name: str) -> None:
    """The path without defects is exact at the ends to the declared order."""
    errors = []
    for cells in (8, 16, 32):
        defects = Defects(Decay(), transcription(name), np.linspace(0.0, 2.0, cells + 1))
        m, w = defects.nodes.size, np.ones(1)
        x = np.ones((m, 1))
        _, jacobian = defects.linearise(x, w)
        matrix, row = np.zeros((m, m)), 1
        matrix[0, 0] = 1.0
        span = (m - 1) // cells
        for i in range(cells):
            for r in range(span):
                matrix[row, span * i : span * i + span + 1] = jacobian[i, r, 0, :-1]
                row += 1
        solution = np.linalg.solve(matrix, np.eye(m)[0])
        errors.append(abs(solution[-1] - np.exp(-2.0)))
    order = np.log2(errors[-2] / errors[-1])
    assert order == pytest.approx(transcription(name).order, abs=0.1)


@pytest.mark.parametrize("states", [4, 5, 10])
def test_lorenz_96_by_hand(states: int) -> None:
    """Against the formula index by index, and complex steps of it."""

    def plain(x: Array, f: complex) -> Array:
        n = states
        return np.array([x[i - 1] * (x[(i + 1) % n] - x[i - 2]) - x[i] + f for i in range(n)])

    rng = np.random.default_rng(4)
    x, p, dx = rng.standard_normal((3, states))
    system, w = Lorenz96(states), np.array([8.17])
    np.testing.assert_allclose(system.value(np.zeros(()), x, w), plain(x, 8.17), atol=1e-14)
    f_x, f_w = system.jacobian(np.zeros(()), x, w)
    np.testing.assert_allclose(f_x @ dx, plain(x + 1e-30j * dx, 8.17).imag * 1e30, atol=1e-14)
    np.testing.assert_array_equal(f_w[:, 0], 1.0)
    f_xx, f_xw, f_ww = system.curvature(np.zeros(()), x, w, p)
    both = p @ (system.jacobian(np.zeros(()), x + dx, w)[0] - f_x)  # F is quadratic
    np.testing.assert_allclose(f_xx @ dx, both, atol=1e-13)
    assert not f_xw.any() and not f_ww.any()


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least 4"):
        Lorenz96(3)
    with pytest.raises(InputError, match="increasing cell ends"):
        Defects(Lorenz96(5), transcription("euler"), np.array([0.0, 0.0]))
    with pytest.raises(InputError, match="expected one of"):
        transcription("eulr")
