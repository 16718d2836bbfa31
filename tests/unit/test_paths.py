"""Actions of paths: by hand, in both published normalisations, with their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from test_defects import Oscillator

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import NORMALISATIONS, normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.single import PathAction
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS, transcription
from fem_deepest.errors import InputError
from fem_deepest.solve.newton import polish
from fem_deepest.solve.paths.newton import NewtonPaths
from fem_deepest.solve.paths.tridiagonal import Arrow, Layout

Array = NDArray[np.float64]

ENDS = np.array([0.0, 0.3, 0.5, 1.1, 1.3])
names = pytest.mark.parametrize("name", TRANSCRIPTIONS)
both = pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])


def oscillator(name: str, varying: bool, **more: object) -> Paths:
    """Two components observed at nodes, between them and at both ends, some values missing."""
    defects = Defects(Oscillator(), transcription(name), ENDS, varying)
    times = np.array([0.0, 0.1, 0.3, 0.62, 1.3])
    rng = np.random.default_rng(0)
    values = rng.standard_normal((5, 2))
    values[2, 1] = np.nan
    observations = Observations(times, values, [1, 0], precision=[2.0, 0.5])
    return Paths(defects, observations, prior=0.7, reference=0.4, kappa=1.5, **more)


def start(paths: Paths, many: int = 3, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, many, paths.size))


@names
@both
def test_value_is_the_sum_by_hand(name: str, varying: bool) -> None:
    paths = oscillator(name, varying)
    u, _ = start(paths)
    R_f = np.array([0.3, 1.0, 7.0])
    parts = paths.value(u, R_f)
    y, times = paths.observations.values, paths.observations.times
    nodes = paths.defects.nodes
    for k in range(3):
        x, w = paths.split(u[k])
        measurement = 0.0
        for j, t in enumerate(times):
            i = min(int(np.searchsorted(ENDS, t, side="right")) - 1, 3)
            inside = (nodes >= ENDS[i] - 1e-12) & (nodes <= ENDS[i + 1] + 1e-12)
            for l, component in enumerate((1, 0)):
                if (j, l) == (2, 1):
                    continue
                # Lagrange's polynomial through the nodes of the cell.
                polynomial = np.polyfit(nodes[inside], x[inside, component], inside.sum() - 1)
                error = np.polyval(polynomial, t) - y[j, l]
                measurement += 0.5 * (2.0, 0.5)[l] * error**2
        d = paths.defects.value(x, w)
        weight = np.diff(ENDS)[:, None] * transcription(name).weights
        model = 0.5 * R_f[k] * np.sum(weight[..., None] * d**2)
        e = w - 0.4
        if varying:
            h, a, b = np.diff(ENDS)[:, None], e[:-1], e[1:]
            mass = 1.5**2 * np.sum(h * (a * a + a * b + b * b) / 3)
            prior = 0.35 * (mass + np.sum((b - a) ** 2 / h))
        else:
            prior = 0.35 * np.sum(e**2)
        expected = [measurement, model, prior, measurement + model + prior]
        got = [parts.measurement[k], parts.model[k], parts.prior[k], parts.action[k]]
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_published_normalisations_by_hand() -> None:
    rng = np.random.default_rng(2)
    m, D, h = 9, 5, 0.1
    nodes = np.linspace(0.0, 0.4, m)
    x, f, y = rng.standard_normal((m, D)), 8.17, rng.standard_normal((m, 2))

    def field(z: Array) -> Array:
        return np.roll(z, 1) * (np.roll(z, -1) - np.roll(z, 2)) - z + f

    d1 = [
        x[n + 2] - x[n] - h / 6 * (field(x[n]) + 4 * field(x[n + 1]) + field(x[n + 2]))
        for n in range(0, m - 2, 2)
    ]
    d2 = [
        x[n + 1] - (x[n] + x[n + 2]) / 2 - h / 8 * (field(x[n]) - field(x[n + 2]))
        for n in range(0, m - 2, 2)
    ]
    square = np.sum((x[:, [0, 3]] - y) ** 2)
    error = np.sum(np.square(d1)) + np.sum(np.square(d2))
    expected = {
        "minaone": (4.0 * square / m, 3.0 * error / m),
        "varanneal": (4.0 * square / (2 * m), 3.0 * error / (D * (m - 1))),
    }
    defects = Defects(Lorenz96(D), transcription("simpson_hermite"), nodes[::2])
    for name, (measurement, model) in expected.items():
        observations = Observations(nodes, y, [0, 3], precision=4.0)
        paths = Paths(defects, observations, normalisation=normalisation(name))
        parts = paths.value(paths.join(x, np.array([f]))[None], 3.0)
        assert parts.measurement[0] == pytest.approx(measurement, rel=1e-12)
        assert parts.model[0] == pytest.approx(model, rel=1e-12)
        assert parts.action[0] == pytest.approx(measurement + model, rel=1e-12)


@names
@both
@pytest.mark.parametrize("constants", NORMALISATIONS)
def test_taylor(name: str, varying: bool, constants: str) -> None:
    """Remainders of order 2 with the gradient and 3 with the second variation."""
    paths = oscillator(name, varying, normalisation=normalisation(constants))
    u, d = start(paths)
    R_f = np.array([0.3, 1.0, 7.0])
    parts, g = paths.gradient(u, R_f)
    again, same, curvature = paths.curvature(u, R_f)
    np.testing.assert_allclose(same, g, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(again.action, parts.action, rtol=1e-14)
    np.testing.assert_allclose(paths.value(u, R_f).action, parts.action, rtol=1e-14)
    slope = np.sum(g * d, axis=1)
    curved = np.sum(curvature.apply(paths, d) * d, axis=1)
    steps = 2.0 ** -np.arange(7, 11)[:, None]
    change = np.stack([paths.value(u + e * d, R_f).action - parts.action for e in steps[:, 0]])
    for remainder, order in (
        (change - steps * slope, 2),
        (change - steps * slope - 0.5 * steps**2 * curved, 3),
    ):
        observed = np.log2(np.abs(remainder[:-1] / remainder[1:]))
        np.testing.assert_allclose(observed[-1], order, atol=0.1)


@names
@both
def test_gather_and_scatter_are_transposed(name: str, varying: bool) -> None:
    paths = oscillator(name, varying)
    u, _ = start(paths)
    local = np.random.default_rng(3).standard_normal(paths.gather(u).shape)
    np.testing.assert_allclose(
        np.sum(local * paths.gather(u)), np.sum(paths.scatter(local) * u), atol=1e-12
    )


def dense(paths: Paths, curvature_like: Array) -> Array:
    """Sum over the cells as a full matrix, for one path."""
    numbers = paths.gather(np.arange(paths.size, dtype=float)).astype(int)
    out = np.zeros((paths.size, paths.size))
    for i, place in enumerate(numbers):
        out[np.ix_(place, place)] += curvature_like[i]
    return out


@names
@both
def test_arrow_solves_what_lapack_solves(name: str, varying: bool) -> None:
    paths = oscillator(name, varying)
    u, r = start(paths)
    matrix = paths.curvature(u, 2.0)[2].gauss_newton
    got = Arrow(Layout(paths), matrix)
    assert got.positive.all()
    d = got.solve(r)
    for k in range(3):
        full = dense(paths, matrix[k])
        expected = np.linalg.solve(full, r[k])
        size = np.linalg.cond(full) * np.finfo(float).eps
        assert np.linalg.norm(d[k] - expected) <= 10.0 * size * np.linalg.norm(expected)


@names
@both
def test_arrow_finds_the_indefinite_paths_and_spares_the_others(name: str, varying: bool) -> None:
    paths = oscillator(name, varying)
    u, r = start(paths, many=40)
    full = paths.curvature(u, 0.5)[2]
    matrix = full.gauss_newton + np.geomspace(1e-2, 20.0, 40)[:, None, None, None] * full.rest
    arrow = Arrow(Layout(paths), matrix)
    least = np.array([np.linalg.eigvalsh(dense(paths, m))[0] for m in matrix])
    assert 3 < (least > 0).sum() < 37
    np.testing.assert_array_equal(arrow.positive, least > 0.0)
    alone = np.flatnonzero(arrow.positive)
    d = arrow.solve(r)
    assert not d[~arrow.positive].any()
    np.testing.assert_array_equal(
        d[alone], Arrow(Layout(paths), np.ascontiguousarray(matrix[alone])).solve(r[alone])
    )


@both
def test_derivative_by_precision(varying: bool) -> None:
    paths = oscillator("gauss2", varying)
    u, _ = start(paths)
    got = paths.by_precision(u, 2.0)
    difference = (paths.gradient(u, 4.0)[1] - paths.gradient(u, 2.0)[1]) / 2.0
    np.testing.assert_allclose(got, 2.0 * difference, atol=1e-11)  # A is linear in R_f


@both
def test_protocol_of_one_path(varying: bool) -> None:
    """Newton by SNES in the metric ends where the batched matrices vanish too."""
    paths = oscillator("midpoint", varying)
    action = PathAction(paths, 2.0)
    u, g, r = action.create(), action.create(), action.create()
    near = NewtonPaths(paths).minimise(start(paths)[0][:1], 2.0, cold=True).u[0]
    u.array_w[...] = near + 1e-3 * start(paths)[1][0]
    assert action.gradient(u, g) == action.value(u)
    action.metric.apply(g, r)
    d = action.create()
    action.metric.solve(r, d)
    np.testing.assert_allclose(d.array_r, g.array_r, rtol=1e-11, atol=1e-12)
    assert r.dot(g) > 0.0
    outcome = polish(action, u, tolerance=1e-9, iterations=20)
    assert outcome.converged
    assert np.abs(paths.gradient(u.array_r[None], 2.0)[1]).max() < 1e-7
    hessian = dense(paths, sum(vars(paths.curvature(u.array_r[None], 2.0)[2]).values())[0])
    d.array_w[...] = np.arange(paths.size)
    action.hessian(u, d, r)
    np.testing.assert_allclose(r.array_r, hessian @ d.array_r, rtol=1e-11, atol=1e-10)


def test_refusals() -> None:
    defects = Defects(Oscillator(), transcription("midpoint"), ENDS)

    def refused(match: str, *arguments: object, **more: object) -> None:
        with pytest.raises(InputError, match=match):
            Observations(*arguments, **more).on(defects)

    refused("one row for each time", [0.0, 1.0], [[1.0]])
    refused("each once", [0.0], [[1.0, 2.0]], [0, 0])
    refused("each once", [0.0], [[1.0, 2.0]], [0])
    refused("precision", [0.0], [[1.0]], [0], [1.0, 2.0, 3.0])
    refused("not negative", [0.0], [[1.0]], [0], -1.0)
    refused("no observations", [0.0], [[np.nan]], [0])
    refused("no observations", [0.0], [[1.0]], [0], 0.0)
    refused("inside of the path", [1.4], [[1.0]], [0])
    refused("0 to 1", [1.0], [[1.0]], [2])
    with pytest.raises(InputError, match="expected one of"):
        normalisation("minone")
    observations = Observations([0.0], [[1.0]], [0])
    with pytest.raises(InputError, match="one for each parameter"):
        Paths(defects, observations, prior=[1.0, 2.0])
    with pytest.raises(InputError, match="negative"):
        Paths(defects, observations, prior=-1.0)
    with pytest.raises(InputError, match="positive, finite R_f"):
        PathAction(Paths(defects, observations), np.inf)
