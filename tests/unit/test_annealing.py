"""Annealing of paths and the levels they end at."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_path_newton import Turning, lorenz

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations, expected_measurement
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.pendulum import Pendulum
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.levels import cluster, levels
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths


def climbed(newton: NewtonPaths, ladder: Ladder, many: int = 3, **more: bool) -> Batch:
    numbers = np.arange(many)
    bounds = Bounds.of(newton.paths, (-5.0, 5.0), (0.0, 10.0))
    batch = Batch(numbers, random_starts(bounds, numbers, 7))
    for _ in Annealing(newton, ladder, **more).climb(batch):
        pass
    return batch


def test_ladder() -> None:
    np.testing.assert_allclose(Ladder(0.5, 3.0, 4).precisions, [0.5, 1.5, 4.5, 13.5])
    for bad in ((0.0, 2.0, 3), (1.0, 1.0, 3), (1.0, 2.0, 0)):
        with pytest.raises(InputError, match="alpha > 1"):
            Ladder(*bad)


def test_starts_belong_to_the_number_of_the_path() -> None:
    bounds = Bounds.of(lorenz(), (-5.0, 5.0), (0.0, 10.0))
    together = random_starts(bounds, np.arange(6), 3)
    np.testing.assert_array_equal(random_starts(bounds, np.array([4, 1]), 3), together[[4, 1]])
    assert not np.array_equal(random_starts(bounds, np.array([4]), 4), together[[4]])
    assert ((together >= bounds.lower) & (together <= bounds.upper)).all()
    with pytest.raises(InputError, match="infinite"):
        random_starts(Bounds.of(lorenz()), np.arange(1), 0)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("predictor", [False, True])
def test_every_rung_ends_at_a_minimum(adaptive: bool, predictor: bool) -> None:
    newton = NewtonPaths(lorenz())
    ladder = Ladder(0.01, 10.0, 4, adaptive)
    batch = climbed(newton, ladder, predictor=predictor)
    assert batch.rung == 4
    assert np.array(batch.converged).all()
    parts, _ = newton.paths.gradient(batch.u, ladder.precisions[-1])
    np.testing.assert_allclose(batch.record[-1][:, 0], parts.action, rtol=1e-12)
    np.testing.assert_allclose(batch.record[-1][:, 0], batch.record[-1][:, 1:].sum(1), rtol=1e-12)
    assert (newton.minimise(batch.u, ladder.precisions[-1]).iterations <= 1).all()
    # The least action grows with the precision.
    assert (np.diff(np.array(batch.record)[:, :, 0], axis=0) > 0.0).all()


def test_predictor_follows_the_tangent() -> None:
    """Its error falls like the square of the step in log R_f."""
    newton = NewtonPaths(lorenz(), tolerance=1e-16)
    annealing = Annealing(newton, Ladder(1.0, 2.0, 2))
    u = newton.minimise(climbed(newton, Ladder(1.0, 2.0, 1)).u, 1.0).u
    errors = []
    for step in (0.02, 0.01):
        to = np.full(3, np.exp(step))
        predicted = annealing.predict(u, np.ones(3), to)
        errors.append(np.linalg.norm(predicted - newton.minimise(predicted, to).u, axis=1))
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2.0, atol=0.1)


def test_predictor_saves_work() -> None:
    newton, ladder = NewtonPaths(lorenz()), Ladder(0.1, 2.0, 10)
    without = np.array(climbed(newton, ladder, predictor=False).work)[1:].sum(axis=(0, 1))
    with_ = np.array(climbed(newton, ladder, predictor=True).work)[1:].sum(axis=(0, 1))
    assert with_[0] < without[0]  # steps


def test_adaptive_ladder_follows_a_branch_that_a_long_rung_loses() -> None:
    """It ends where many short rungs end."""
    newton = NewtonPaths(lorenz("simpson_hermite"))
    fine = climbed(newton, Ladder(0.01, 10**0.25, 21), many=6)
    adaptive = climbed(newton, Ladder(0.01, 10.0**5, 2, adaptive=True), many=6)
    np.testing.assert_allclose(adaptive.record[-1][:, 0], fine.record[-1][:, 0], rtol=1e-8)
    assert np.sum(adaptive.work) < np.sum(fine.work)


def test_climbing_goes_on_where_it_stopped() -> None:
    newton, ladder = NewtonPaths(lorenz()), Ladder(0.1, 10.0, 3)
    whole = climbed(newton, ladder)
    numbers = np.arange(3)
    bounds = Bounds.of(newton.paths, (-5.0, 5.0), (0.0, 10.0))
    batch = Batch(numbers, random_starts(bounds, numbers, 7))
    next(Annealing(newton, ladder).climb(batch))
    again = Batch(
        numbers, batch.u.copy(), 1, batch.record, batch.converged, batch.work, batch.lowest
    )
    for _ in Annealing(newton, ladder).climb(again):
        pass
    np.testing.assert_array_equal(again.u, whole.u)
    np.testing.assert_array_equal(again.record, whole.record)


def test_parameter_that_varies_in_depth_is_found() -> None:
    """A pendulum whose frequency rises, seen without noise: g(t) to what the prior and the mesh leave."""
    t = np.linspace(0.0, 4.0, 81)

    def g(s):
        return 3.0 + 0.5 * s

    solution = solve_ivp(
        lambda s, x: [x[1], -g(s) * np.sin(x[0]) - 0.3 * x[1]],
        (0.0, 4.0),
        [2.0, 0.0],
        t_eval=t,
        rtol=1e-10,
        atol=1e-10,
    )
    defects = Defects(Pendulum(), transcription("gauss2"), t[::2], varying=True)
    paths = Paths(
        defects,
        Observations(t, solution.y.T, precision=1e4),
        prior=[1.0, 1e4],
        reference=[3.0, 0.3],
        kappa=0.1,
    )
    newton = NewtonPaths(paths)
    start = paths.join(solution.y.T, np.broadcast_to([3.0, 0.3], paths.shapes[1]))
    batch = Batch(np.arange(1), start[None])
    for _ in Annealing(newton, Ladder(1e2, 1e2, 4)).climb(batch):
        pass
    assert batch.converged[-1].all()
    _, w = paths.split(batch.u)
    # The prior holds the ends back (w' = 0 there) over a short layer.
    inside = slice(8, -8)
    expected = np.broadcast_to(g(defects.ends)[inside], w[:, inside, 0].shape)
    np.testing.assert_allclose(w[:, inside, 0], expected, atol=0.05)
    np.testing.assert_allclose(w[:, :, 1], 0.3, atol=0.02)


def test_clusters() -> None:
    action = np.array([3.0, 1.0, np.nan, 1.00005, 3.0002, 7.0, 1.0])
    np.testing.assert_array_equal(cluster(action), [1, 0, -1, 0, 1, 2, 0])
    np.testing.assert_array_equal(cluster(action, 1e-6), [2, 0, -1, 1, 3, 4, 0])
    np.testing.assert_array_equal(cluster(np.array([np.nan])), [-1])
    np.testing.assert_array_equal(cluster(np.zeros(3)), 0)
    np.testing.assert_array_equal(cluster(np.array([1e-20, 1e-25, 1e-3]), floor=1e-15), [0, 0, 1])
    with pytest.raises(InputError, match="tolerance"):
        cluster(action, 0.0)


def test_levels_of_a_table_by_hand() -> None:
    action = np.array([[2.0, 5.0], [1.0, 5.0], [2.0, 4.0], [1.0, 5.0]])
    found = levels(np.array([0.1, 0.2]), action, 0.75 * action, 0.25 * action)
    got = [(v.beta, v.R_f, v.level, v.action, v.count, v.fraction, v.path) for v in found]
    assert got == [
        (0, 0.1, 0, 1.0, 2, 0.5, 1),
        (0, 0.1, 1, 2.0, 2, 0.5, 0),
        (1, 0.2, 0, 4.0, 1, 0.25, 2),
        (1, 0.2, 1, 5.0, 3, 0.75, 0),
    ]
    assert [v.measurement for v in found] == [0.75, 1.5, 3.0, 3.75]


def test_expected_measurement_is_that_of_noise() -> None:
    """Mean and deviation over many draws of the noise, at the truth."""
    defects = Defects(Turning(), transcription("midpoint"), np.linspace(0.0, 1.0, 11))
    rng, precision = np.random.default_rng(0), np.array([4.0, 0.25])
    t = defects.nodes
    truth = np.stack([np.cos(t), -np.sin(t)], axis=1)
    found = []
    for _ in range(2000):
        y = truth + rng.standard_normal(truth.shape) / np.sqrt(precision)
        y[3, 0] = np.nan
        paths = Paths(defects, Observations(t, y, precision=precision))
        found.append(paths.value(truth.reshape(1, -1), 1.0).measurement[0])
    mean, deviation = expected_measurement(paths.observations, paths.measurement_weight)
    assert mean == pytest.approx(10.5)
    assert deviation == pytest.approx(0.5 * np.sqrt(42.0))
    assert np.mean(found) == pytest.approx(mean, abs=4 * deviation / np.sqrt(2000))
    # The relative error of a sample deviation is about (2 n)^{-1/2}.
    assert np.std(found) == pytest.approx(deviation, rel=4 / np.sqrt(4000))
