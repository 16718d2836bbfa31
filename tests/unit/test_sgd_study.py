"""The study of stochastic gradient descent: its problems against what is known of them, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError, NotConverged
from fem_deepest.noise.philox import normals
from fem_deepest.solve.outcome import Outcome
from fem_deepest.solve.sgd import Gains
from fem_deepest.studies.column import Errors
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.sgd_network import Towards, towards
from fem_deepest.studies.sgd_quadratic import NoisyQuadratic
from fem_deepest.studies.study import compute, strays
from fem_deepest.studies.table import Table

CURVATURE = [1.0, 3.0]


def _quadratic(spread: float = 0.4, noise: float = 0.6) -> NoisyQuadratic:
    return NoisyQuadratic(CURVATURE, spread, noise, 2.0)


def test_a_run_is_the_recursion_of_its_numbers() -> None:
    gains, e = Gains(0.3, 0.75), np.full((2, 3), 2.0)
    for n in range(1, 21):
        z = normals(5, np.arange(2, dtype=np.uint64), n, 9, range(4, 7), 2).reshape(2, 2, 3)
        gain = 0.3 * n**-0.75
        e = e - gain * ((np.array(CURVATURE)[:, None] + 0.4 * z[:, 0]) * e + 0.6 * z[:, 1])
    found = _quadratic().errors(gains, 20, 5, 9, range(4, 7))
    np.testing.assert_allclose(found, np.linalg.norm(e, axis=0), rtol=1e-13)
    alone = _quadratic().errors(gains, 20, 5, 9, range(5, 6))
    assert alone[0] == found[1]


def test_moments_of_one_step_are_those_of_gauss_hermite_quadrature() -> None:
    """And of two: the recursion is right in both of its arguments. Moments of order four, so 3 points."""
    x, w = np.polynomial.hermite_e.hermegauss(3)
    w = w / w.sum()
    gains, mu = Gains(0.3, 0.5), np.array(CURVATURE)
    z = np.array(np.meshgrid(x, x, x, x, indexing="ij"))  # zeta_1, z_1, zeta_2, z_2
    weight = np.einsum("i,j,k,l->ijkl", w, w, w, w)
    for steps in (1, 2):
        second, fourth, ends = np.zeros(2), np.zeros(2), []
        for i in range(2):
            e = np.full(z.shape[1:], 2.0)
            for n in range(1, steps + 1):
                zeta, add = z[2 * n - 2], z[2 * n - 1]
                e = e - gains(n) * ((mu[i] + 0.4 * zeta) * e + 0.6 * add)
            second[i], fourth[i] = np.sum(weight * e**2), np.sum(weight * e**4)
            ends.append(e)
        quadratic = _quadratic()
        assert quadratic.strong(gains, steps, 2) == pytest.approx(second.sum() ** 0.5, rel=1e-13)
        norm4 = fourth.sum() + 2.0 * second.prod()
        assert quadratic.strong(gains, steps, 4) == pytest.approx(norm4**0.25, rel=1e-13)


@pytest.mark.parametrize(("nu", "eta"), [(0.5, 0.3), (0.75, 0.3), (1.0, 0.2)])
def test_sampled_moments_are_the_exact_ones(nu: float, eta: float) -> None:
    """Within four standard errors, for p = 2 and 4."""
    gains, quadratic = Gains(eta, nu), _quadratic()
    e = quadratic.errors(gains, 50, 1, 0, range(20000))
    for p in (2, 4):
        mean, deviation = np.mean(e**p), np.std(e**p) / np.sqrt(e.size)
        assert abs(mean - quadratic.strong(gains, 50, p) ** p) < 4.0 * deviation


@pytest.mark.parametrize(
    ("nu", "eta", "order"),
    [(0.3, 0.3, 0.15), (0.6, 0.3, 0.3), (0.8, 0.6, 0.4), (1.0, 1.5, 0.5), (1.0, 0.2, 0.2)],
)
def test_exact_orders_are_those_of_theory(nu: float, eta: float, order: float) -> None:
    """From 4000 to 16000 steps, where the next term has its ``n^{nu - 1}``, or ``n^{2 eta mu - 1}``."""
    errors = [_quadratic().strong(Gains(eta, nu), n, 2) for n in (4000, 16000)]
    assert np.log(errors[0] / errors[1]) / np.log(4.0) == pytest.approx(order, abs=0.02)


# The network --------------------------------------------------------------------------------------


def _towards(strength: float = 2.0) -> Towards:
    config = Config.model_validate(
        {
            "network": {"neurons": 3, "cells": 2, "scheme": "rk2"},
            "action": {"lambda": strength, "loss": "least_squares"},
        }
    )
    return towards(json.dumps(config.model_dump(by_alias=True)), 32, 0.2)


def test_the_minimiser_is_one() -> None:
    network = _towards()
    action, u = network.action, network.minimiser
    g, h = action.create(), action.create()
    action.gradient(network.start, g)
    action.gradient(u, h)
    assert h.norm() < 1e-8 * g.norm()
    values = [action.value(u)]
    for i in range(u.getSize()):
        for e in (-1e-3, 1e-3):
            v = u.copy()
            v.array_w[i] += e
            values.append(action.value(v))
    assert min(values) == values[0]


def test_with_all_samples_a_run_is_gradient_descent() -> None:
    """Whose error the linearisation knows without any noise, near the minimiser."""
    network, gains = _towards(), Gains(0.3, 0.5)
    first, other = network.errors(gains, 32, 40, 0, range(2))
    assert first == other  # nothing is random
    near = Towards(network.action, network.minimiser.copy(), network.minimiser)
    near.start.array_w[...] += 1e-5 * np.random.default_rng(0).standard_normal(near.start.getSize())
    found = near.errors(gains, 32, 10, 0, range(1))[0]
    # The Hessian changes by 1e-5 of it, and the minimiser is known to about 1e-10 of an error of 1e-6.
    assert found == pytest.approx(near.linearised(gains, 32, 10), rel=3e-4)


def test_runs_are_as_far_from_the_minimiser_as_the_linearised_ones() -> None:
    """Within four standard errors and the part of the next order, some ``g_n`` of it."""
    network, gains = _towards(), Gains(0.5, 0.75)
    e = network.errors(gains, 8, 100, 3, range(40))
    assert len(set(e.tolist())) == 40
    mean, deviation = np.mean(e**2), np.std(e**2) / np.sqrt(e.size)
    expected = network.linearised(gains, 8, 100) ** 2
    assert abs(mean - expected) < 4.0 * deviation + gains(100) * expected
    np.testing.assert_array_equal(network.errors(gains, 8, 100, 3, range(20, 22)), e[20:22])


def test_a_minimiser_that_is_not_found_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Outcome(False, "diverged_max_it", 50)
    monkeypatch.setattr("fem_deepest.studies.sgd_network.polish", lambda *_, **__: stopped)
    with pytest.raises(NotConverged, match=r"action\.lambda"):
        _towards(2.5)


# The study ----------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "study": {"name": "sgd_strong", "values": [16, 64], "nu": [0.75]},
    "quadratic": {"runs": 600, "slow": 0.25},
    "sgd": {"runs": 6},
    "check": {"tolerance": 0.1, "last": 2},
}


def test_the_table_has_errors_intervals_and_what_is_known(tmp_path: Path) -> None:
    study = load_study(SMALL)
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    table = study.table(points)
    names = ("quadratic, nu 0.75", "network, nu 0.75", "quadratic, nu 1, eta 0.25")
    assert study.columns == names
    quadratics = [[name, name + " exactly"] for name in names]
    assert list(table.errors) == [*quadratics[0], names[1], *quadratics[2]]
    assert list(table.others) == [names[1] + " linearised"]
    assert [e.expected for e in table.errors.values()] == [0.375, 0.375, 0.375, 0.25, 0.25]
    for i, n in enumerate((16, 64)):
        quadratic = NoisyQuadratic([1.0, 3.0], 0.5, 1.0, 1.0)
        e = quadratic.errors(Gains(0.7, 0.75), n, 0, n, range(600))
        errors = table.errors[names[0]]
        assert errors.values[i] == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)
        half = 1.96 * np.std(e**2) / np.sqrt(600)
        assert errors.low is not None
        assert errors.high is not None
        ends = np.array([errors.low[i], errors.high[i]]) ** 2
        np.testing.assert_allclose(ends - errors.values[i] ** 2, [-half, half], rtol=5e-3)
    assert study.failures({"table": table}) == []
    assert Table.from_csv(table.to_csv()).to_csv() == table.to_csv()


def test_fourth_moments(tmp_path: Path) -> None:
    section = SMALL["study"] | {"p": 4, "problems": ["quadratic"]}
    study = load_study(SMALL | {"study": section})
    table = study.table(compute(study, Points(tmp_path, MPI.COMM_SELF)))
    name = "quadratic, nu 0.75"
    expected = NoisyQuadratic([1.0, 3.0], 0.5, 1.0, 1.0).strong(Gains(0.7, 0.75), 64, 4)
    assert table.errors[name + " exactly"].values[-1] == expected
    assert table.errors[name].values[-1] == pytest.approx(expected, rel=0.1)
    assert not table.others
    assert study.failures({"table": table}) == []


def test_errors_that_are_not_the_exact_ones_are_told() -> None:
    q, x = np.array([1.0, 2.0]), np.array([1.0, 0.7])
    for exact, off in ((x, 0), (x + np.array([0.0, 0.05]), 1), (x - np.array([0.05, 0.0]), 1)):
        errors = {"e": Errors(x, None, x - 0.02, x + 0.02), "e exactly": Errors(exact)}
        assert len(strays(Table("n", q, errors, 0 * q))) == off
        alone = Table("n", q, {"e": errors["e"]}, 0 * q, {"e exactly": exact})
        assert len(strays(alone)) == off
    assert strays(Table("n", q, {"e": Errors(x), "e exactly": Errors(2 * x)}, 0 * q)) == []


def test_roots_of_errors() -> None:
    errors = Errors(np.array([16.0]), 0.5, np.array([-1.0]), np.array([81.0])).root(4)
    assert errors.low is not None
    assert errors.high is not None
    assert (errors.values[0], errors.low[0], errors.high[0]) == (2.0, 0.0, 3.0)
    assert errors.expected == 0.5


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("study", {"nu": [1.0]}, "less than 1"),
        ("study", {"nu": [0.5, 0.5]}, "names one twice"),
        ("study", {"problems": []}, "at least 1"),
        ("study", {"p": 3}, "2 or 4"),
        ("quadratic", {"slow": 0.5}, "is no counter-example"),
        ("quadratic", {"curvature": []}, "at least 1"),
        ("sgd", {"batch": 64}, "nothing is random"),
        ("action", {"loss": "cross_entropy"}, "least_squares"),
        ("network", {"neurons": 1}, "1 neurons cannot hold 2 inputs"),
    ],
)
def test_what_makes_no_study_is_refused(section: str, values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study(SMALL | {section: SMALL.get(section, {}) | values})
