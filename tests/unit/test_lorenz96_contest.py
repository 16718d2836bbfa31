"""The contest of Lorenz 96 in small: six variables, data of a twin, a level known from the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from fem_deepest.errors import InputError
from fem_deepest.studies.contests.lorenz96_arms import LorenzContest
from fem_deepest.studies.methods import Tally
from fem_deepest.studies.named import load_study

Array = NDArray[np.float64]

BUDGET = 3000
DEMO = Path(__file__).resolve().parents[2] / "demos" / "compare_lorenz96.toml"
SMALL = (
    "problem.components=[0,1,3,4]",
    "noise.hops=5",
    "noise.steps=20",
    "anneal.midway=30",
    "cost.curvature=23.0",
    "cost.system=32.0",
    "study.arms=[]",
)


@pytest.fixture(scope="module")
def table() -> Array:
    """Time and six variables with noise of deviation 0.5, 41 times."""

    def right(t: float, x: Array) -> Array:
        return np.roll(x, 1) * (np.roll(x, -1) - np.roll(x, 2)) - x + 8.17

    start = 8.0 + np.random.default_rng(3).standard_normal(6)
    t = 0.025 * np.arange(41)
    x = solve_ivp(right, (0.0, 9.0), start, t_eval=8.0 + t, rtol=1e-9, atol=1e-9).y.T
    return np.column_stack([t, x + 0.5 * np.random.default_rng(4).standard_normal(x.shape)])


@pytest.fixture(scope="module")
def contest(table: Array, tmp_path_factory: pytest.TempPathFactory) -> LorenzContest:
    path = tmp_path_factory.mktemp("lorenz96") / "twin.csv"
    head = ",".join(["t", *(f"x{i}" for i in range(6))])
    np.savetxt(path, table, delimiter=",", header=head, comments="")

    def make(lowest: float) -> LorenzContest:
        settings = [f"problem.path={path}", *SMALL, f"problem.lowest={lowest!r}"]
        return load_study(DEMO, settings).contest()

    first = make(1.0)
    u = first.paths.join(table[None, :, 1:], np.array([[8.17]]))
    for beta in range(30, 75, 10):
        result = first.newton.minimise(u, 4e-6 * 1.5**beta)
        u = result.u
    assert result.converged.all()
    return make(float(result.parts.action[0]))


def test_every_arm_keeps_to_its_budget(contest: LorenzContest) -> None:
    numbers = np.arange(3)
    assert len(contest.arms) == 7
    for name, arm in contest.arms.items():
        trial = arm(numbers, BUDGET)
        assert (trial.used > 0.0).all(), name
        assert (trial.used <= BUDGET).all(), name
        found = np.isfinite(trial.hit)
        assert (trial.hit[found] <= trial.used[found]).all(), name
        np.testing.assert_array_equal(found, trial.lowest <= contest.threshold)
        assert np.isfinite(trial.lowest).all(), name


@pytest.mark.parametrize("name", ["noise + precision annealing", "multistart midway + annealing"])
def test_the_level_of_the_truth_is_found(contest: LorenzContest, name: str) -> None:
    """Four of six variables observed for a short time: there is hardly another level."""
    trial = contest.arms[name](np.arange(4), BUDGET)
    level = contest.threshold / 1.01
    assert np.isfinite(trial.hit).sum() >= 2
    np.testing.assert_allclose(trial.lowest[np.isfinite(trial.hit)], level, rtol=1e-6)


def test_seeds_do_not_know_of_each_other(contest: LorenzContest) -> None:
    """Up to the rounding of stacked products, which descent on so few data does not enlarge."""
    arm = contest.arms["noise + precision annealing"]
    both, one = arm(np.array([5, 2]), 1200), arm(np.array([2]), 1200)
    np.testing.assert_allclose(both.lowest[1:], one.lowest, rtol=1e-3)


def test_a_climb_is_given_up_where_the_data_do_not_allow_it(
    contest: LorenzContest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ceiling of the chi-square law; what is given up is noted at the last precision."""
    U = contest.start(np.arange(2), 0)
    tally = Tally(np.arange(2), 1e5, contest.threshold)
    expected = 1.0 + 5.0 * np.sqrt(2.0 / contest.paths.observations.values.size)
    assert contest.ceiling == pytest.approx(expected)
    monkeypatch.setattr(contest, "ceiling", -1.0)  # everything is too high
    contest.climb(U.T.copy(), np.arange(2), tally, contest.midway)
    assert np.isinf(tally.hit).all()
    assert (tally.lowest > contest.threshold).all()
    assert np.isfinite(tally.lowest).all()


def test_missing_data_are_refused_with_the_reason(tmp_path: Path) -> None:
    study = load_study(DEMO, [f"problem.path={tmp_path / 'nothing.csv'}"])
    with pytest.raises(InputError, match="cannot read the time series"):
        study.contest()


def test_kept_points_belong_to_the_contents_of_the_data(tmp_path: Path) -> None:
    found = []
    for folder, text in (("a", "t,x0\n"), ("b", "t,x0\n"), ("c", "t,x1\n")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "series.csv"
        path.write_text(text)
        found.append(load_study(DEMO, [f"problem.path={path}"]).points())
    assert found[0] == found[1]  # wherever it lies
    assert found[0] != found[2]


def test_components_that_are_not_there_are_refused(contest: LorenzContest, tmp_path: Path) -> None:
    path = contest.config.problem.path
    study = load_study(DEMO, [f"problem.path={path}", "problem.components=[0,6]"])
    with pytest.raises(InputError, match="states 0 to 5"):
        study.contest()
