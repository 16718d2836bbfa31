"""Comparisons: intervals against published values, tests against SciPy, and contests with known ends."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from scipy import stats

from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.search import Descent, Plan
from fem_deepest.errors import InputError
from fem_deepest.studies import arms
from fem_deepest.studies.arms import Trial, summary
from fem_deepest.studies.comparison import (
    PLAIN,
    ComparisonConfig,
    ComparisonSection,
    ComparisonStudy,
)
from fem_deepest.studies.kramers import effective, eyring_kramers
from fem_deepest.studies.listing import Listing
from fem_deepest.studies.methods import (
    Tally,
    ladder,
    noisy,
    once,
    quasi_newton,
    restarted,
    solver,
)
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.proportion import censored_quantile, holm, mcnemar, wilson
from fem_deepest.studies.study import compute

DEMOS = Path(__file__).parents[2] / "demos"

# Proportions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # R. G. Newcombe, Stat. Med. 17 (1998) 857-872, table I, method 3: score, not corrected.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_intervals(successes, trials, low, high) -> None:
    found = wilson(successes, trials)
    np.testing.assert_allclose(found, (low, high), atol=5.1e-5)
    mirrored = wilson(trials - successes, trials)
    np.testing.assert_allclose(mirrored, (1.0 - found[1], 1.0 - found[0]), rtol=1e-12)


def test_wilson_is_where_the_score_test_rejects() -> None:
    """At both ends ``|p - q| = z sqrt(q (1 - q)/n)``, for other levels too."""
    n, successes = 50, np.arange(1, 50)
    for confidence in (0.8, 0.95):
        z = stats.norm.ppf(0.5 + confidence / 2)
        for q in wilson(successes, n, confidence):
            np.testing.assert_allclose(np.abs(successes / n - q), z * np.sqrt(q * (1 - q) / n))


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (3, 11), (7, 7), (0, 1), (40, 21)])
def test_mcnemar_against_the_binomial_test(only_a, only_b) -> None:
    a = np.repeat([True, False, True, False], [only_a, only_b, 4, 9])
    b = np.repeat([False, True, True, False], [only_a, only_b, 4, 9])
    n = only_a + only_b
    expected = stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(b, a) == mcnemar(a, b)


def test_holm_by_hand() -> None:
    """Sorted levels times 4, 3, 2, 1, made monotone."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(holm([0.9, 0.8]), [1.0, 1.0])


def test_quantiles_of_censored_costs() -> None:
    hit = np.array([5.0, np.inf, 3.0, 9.0, np.inf, np.inf, 1.0, 7.0])
    assert censored_quantile(hit, 0.25) == 3.0
    assert censored_quantile(hit, 0.5) == 7.0
    assert censored_quantile(hit, 0.625) == 9.0
    assert censored_quantile(hit, 0.63) == np.inf
    assert censored_quantile(hit, 0.01) == 1.0
    # 0.07 * 100 is 7.000000000000001 in floating point: the seventh, not the eighth.
    assert censored_quantile(np.arange(1.0, 101.0), 0.07) == 7.0


def test_summary_of_arms() -> None:
    trials = {
        "a": Trial(
            np.array([1.0, 4.0, 2.0, 8.0]), np.array([3.0, np.inf, 5.0, np.inf]), np.full(4, 10.0)
        ),
        "b": Trial(np.full(4, 9.0), np.full(4, np.inf), np.full(4, 2.0)),
    }
    found = {name: list(values) for name, values in summary(trials, "b").items()}
    assert found[arms.SUCCESSES] == [2.0, 0.0]
    assert found[arms.RATE] == [0.5, 0.0]
    assert found[arms.MEDIAN] == [5.0, np.inf]
    assert found[arms.THIRD] == [np.inf, np.inf]
    assert found[arms.EXPECTED] == [14.0, np.inf]  # 3 + 10 + 5 + 10 for two successes
    assert found[arms.USED] == [10.0, 2.0]
    assert found[arms.LOWEST] == [1.0, 9.0]
    assert found[arms.MIDDLE] == [3.0, 9.0]
    assert found[arms.P][0] == 0.5  # two pairs differ, both one way
    assert np.isnan(found[arms.P][1])


@pytest.mark.filterwarnings("error")
def test_seeds_that_have_found_nothing() -> None:
    """They count as infinite: in quantiles, and in the median that is drawn from the files."""
    from fem_deepest.figures.comparison import success

    some, most = np.array([1.0, 2.0, 4.0, np.inf, np.inf]), np.array([1.0, *[np.inf] * 4])
    hit, used = np.full(5, np.inf), np.full(5, 3.0)
    found = summary({"some": Trial(some, hit, used), "most": Trial(most, hit, used)})
    assert list(found[arms.MIDDLE]) == [4.0, np.inf]
    assert list(found["action, quartile"]) == [2.0, np.inf]
    finite = np.random.default_rng(0).random(8)
    known = summary({"a": Trial(finite, np.full(8, np.inf), np.full(8, 3.0))})
    for name, share in (("action, quartile", 0.25), (arms.MIDDLE, 0.5)):
        assert known[name][0] == pytest.approx(np.quantile(finite, share), rel=1e-14)
    assert list(found["action, third quartile"]) == [np.inf, np.inf]
    table = Listing("arm", ("some", "most"), {**found, "threshold": np.zeros(2)})
    columns = {"some: lowest": some, "most: lowest": most}
    trials = Listing.from_csv(Listing("seed", tuple("01234"), columns).to_csv())
    medians = [
        line.get_xdata()[0]
        for line in success(table, trials).axes[1].lines
        if np.ptp(line.get_ydata()) == pytest.approx(0.72) and line.get_marker() == "None"
    ]
    assert medians == [4.0]


def test_listing_in_files() -> None:
    listing = Listing(
        "arm", ("x", "y, z"), {"p": np.array([0.1, np.inf]), "q": np.array([1e-30, 2.0])}
    )
    again = Listing.from_csv(listing.to_csv())
    assert (again.kind, again.names) == ("arm", ("x", "y, z"))
    np.testing.assert_array_equal(again["q"], listing["q"])
    np.testing.assert_array_equal(again["p"], [0.1, np.nan])
    assert next(csv.reader(io.StringIO(listing.to_csv()))) == ["arm", "p", "q"]
    assert listing.to_markdown() == (
        "| arm | x | y, z |\n| :--- | ---: | ---: |\n| p | 0.1 |  |\n| q | 1e-30 | 2 |\n"
    )
    assert listing.metrics()["y, z, q"] == 2.0
    with pytest.raises(InputError, match="column 'p' has shape"):
        Listing("arm", ("x",), {"p": np.zeros(2)})
    with pytest.raises(InputError, match="no table of a study"):
        Listing.from_csv("")


# Counting -------------------------------------------------------------------------------------


def test_a_tally_keeps_to_the_budget() -> None:
    tally = Tally(np.array([7, 8, 9]), 3, threshold=1.0)
    both = np.array([0, 2])
    tally.note(both, np.array([5.0, 1.0]))
    tally.note(both, np.array([0.5, np.nan]), np.array([0.25, 1.0]))
    tally.note(both, np.array([9.0, 0.0]), 1.75)
    np.testing.assert_array_equal(tally.used, [3.0, 0.0, 3.0])
    np.testing.assert_array_equal(
        tally.lowest, [0.5, np.inf, 1.0]
    )  # the last 0 was beyond the budget
    np.testing.assert_array_equal(tally.hit, [1.25, np.inf, 1.0])
    np.testing.assert_array_equal(tally.left, [0.0, 3.0, 0.0])
    tally.note(both, np.array([-5.0, 2.0]))
    np.testing.assert_array_equal(tally.used, [3.0, 0.0, 3.0])
    assert tally.trial().lowest[0] == 0.5


class Bowl:
    """``x^2``, lower by 1 where the label ``y`` is positive; in the metric 2 it takes two gradients."""

    comm = MPI.COMM_SELF
    rows = 2

    def __init__(self) -> None:
        self.asked = 0

    def value(self, U):
        return U[0] ** 2 - (U[1] > 0)

    def gradient(self, U, step=None):
        self.asked += U.shape[1]
        return self.value(U), U * [[2.0], [0.0]]

    def apply(self, D):
        return 2.0 * D

    def solve(self, R):
        return 0.5 * R

    def draw(self, seed, step, numbers, stream=0):
        key = [seed, step, stream]
        z = [np.random.default_rng([*key, n]).standard_normal(2) for n in numbers]
        return np.array(z).T / 2**0.5

    def inner(self, a, b):
        return np.einsum("is,is->s", a, b)


def test_arms_count_what_they_ask() -> None:
    bowl = Bowl()
    numbers = np.arange(5)

    def start(numbers, turn):
        """Within the unit ball; seed ``n`` has the good label in round ``n``."""
        return np.array([np.full(numbers.size, 0.5), np.where(numbers == turn, 1.0, -1.0)])

    down = quasi_newton(bowl, 1e-9)
    first = once(start, down, -0.5)(numbers, 100)
    np.testing.assert_array_equal(first.hit, [1.0, *[np.inf] * 4])
    np.testing.assert_array_equal(first.used, 2.0)
    assert bowl.asked == 10
    bowl.asked = 0
    many = restarted(start, down, -0.5)(numbers, 7)
    np.testing.assert_array_equal(many.used, 7.0)
    assert bowl.asked == 35
    # Round n begins after 2 n evaluations; the fourth has one left, and the last no start at all.
    np.testing.assert_array_equal(many.hit, [1.0, 3.0, 5.0, 7.0, np.inf])
    bowl.asked = 0
    plan = Plan(Constant(1e-12), 10, 0.1, ends=("last",))
    shaken = once(start, noisy(bowl, plan, down), -0.5)(numbers, 100)
    np.testing.assert_array_equal(shaken.used, 13.0)  # the start, ten steps, two of the descent
    assert bowl.asked == 65
    cut = once(start, noisy(bowl, plan, down), -0.5)(numbers, 6)
    np.testing.assert_array_equal(cut.used, 6.0)


def test_ladders_go_on_from_where_they_are() -> None:
    """Only the last rung can succeed; all of them cost."""
    bowl, numbers = Bowl(), np.arange(3)

    def start(numbers, turn):
        return np.array([np.full(numbers.size, 0.5), np.ones(numbers.size)])

    plan = Plan(Constant(1e-12), 10, 0.1, ends=("last",))
    up = noisy(bowl, plan, ladder([bowl, bowl], 1e-9), counts=False)
    found = once(start, up, -0.5)(numbers, 100)
    # The start and ten steps, two gradients of the first rung; the second one is there at once.
    np.testing.assert_array_equal(found.hit, 14.0)
    np.testing.assert_array_equal(found.used, 14.0)
    assert bowl.asked == 42
    cut = once(start, ladder([bowl, bowl], 1e-9, most=1), -0.5)(numbers, 100)
    np.testing.assert_array_equal(cut.hit, 2.0)
    np.testing.assert_array_equal(cut.used, 3.0)
    never = once(start, up, -0.5)(numbers, 13)
    assert np.isinf(never.hit).all()
    assert np.isinf(never.lowest).all()


def test_solvers_that_count_themselves() -> None:
    bowl = Bowl()

    def start(numbers, turn):
        return np.array([np.full(numbers.size, 0.5), np.ones(numbers.size)])

    def halving(U):
        cost = np.array([1.0, 4.0, 2.0, 6.0])[: U.shape[1]]
        return Descent(U / 2, bowl.value(U / 2), np.ones(U.shape[1], dtype=bool), cost)

    solved = restarted(start, solver(halving), -0.9)(np.arange(4), 5)
    np.testing.assert_array_equal(solved.hit, [1.0, 4.0, 2.0, np.inf])
    np.testing.assert_array_equal(solved.used, 5.0)
    np.testing.assert_array_equal(solved.lowest, [*[0.25**2 - 1.0] * 3, np.inf])


# The study ------------------------------------------------------------------------------------


class CoinSection(ComparisonSection):
    chance: float


class CoinConfig(ComparisonConfig):
    study: CoinSection


class CoinContest:
    """Every evaluation succeeds with a known chance; plain descent never does."""

    name, threshold = "coins", 0.0

    def __init__(self, seed, chance) -> None:
        self.seed, self.chance = seed, chance
        self.arms = {PLAIN: self.never, "coins": self.toss}

    def toss(self, numbers, budget):
        tally = Tally(numbers, budget, self.threshold)
        generators = [np.random.default_rng([self.seed, n]) for n in numbers]
        for _ in range(budget):
            heads = np.array([g.random() < self.chance for g in generators])
            tally.note(np.arange(numbers.size), np.where(heads, -1.0, 1.0))
        return tally.trial()

    def never(self, numbers, budget):
        return Trial(
            np.ones(numbers.size), np.full(numbers.size, np.inf), np.full(numbers.size, 3.0)
        )


class Coins(ComparisonStudy):
    title = "Coins"
    Config = CoinConfig
    config: CoinConfig

    def names(self):
        return PLAIN, "coins"

    def contest(self):
        return CoinContest(self.config.seed, self.config.study.chance)


def coins(**study) -> Coins:
    values = {"name": "coins", "budget": 20, "chance": 0.04, "seeds": 400, "part": 150, "batch": 40}
    return Coins(CoinConfig.model_validate({"study": {**values, **study}}))


def test_a_contest_with_a_known_chance(tmp_path) -> None:
    """``1 - 0.96^20 = 0.558`` succeed; the median of the geometric law is 17."""
    study = coins()
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    assert [p.parameters["seeds"] for p in points] == [[0, 150], [150, 300], [300, 400]] * 2
    table, trials = study.table(points), study.further(points)["trials"]
    chance, deviation = 1 - 0.96**20, np.sqrt(0.558 * 0.442 / 400)
    assert abs(table[arms.RATE][1] - chance) < 4 * deviation
    assert table[arms.LOW][1] < chance < table[arms.HIGH][1]
    hit = trials["coins: hit"]
    assert np.isfinite(hit).sum() == table[arms.SUCCESSES][1]
    # Ranks of the median: half of 400 +- 4 sqrt(100), so the evaluations are those of shares 0.4 to 0.6.
    low, high = (np.log(1 - q) / np.log(0.96) for q in (0.4, 0.54))
    assert low < table[arms.MEDIAN][1] < high + 1
    # Runs without memory that are begun anew cost 1/0.04 tosses in the mean, wherever they are cut off;
    # the deviation of the estimate is 25 over the root of the successes, 1.7. Tosses go on after it.
    assert abs(table[arms.EXPECTED][1] - 25.0) < 6.8
    np.testing.assert_array_equal(trials["coins: used"], 20.0)
    assert table[arms.P][1] < 1e-50
    assert np.isnan(trials[f"{PLAIN}: hit"]).sum() + np.isinf(trials[f"{PLAIN}: hit"]).sum() == 400
    assert study.told({"table": table})[0].startswith(
        f"{PLAIN}: 0 of 400, [0.000, 0.010], median not"
    )


def test_points_depend_on_what_they_are() -> None:
    """Seeds that are added, and another reference, leave what was computed; a chance does not."""

    def known(**study):
        return [str(sorted(p.items())) for p in coins(**study).points()]

    assert set(known(seeds=300)) < set(known(seeds=450, reference="coins"))
    assert not set(known()) & set(known(chance=0.05))
    assert not set(known()) & set(known(budget=21))


def test_batches_and_parts_change_nothing(tmp_path) -> None:
    """A seed is what it is, whatever stands beside it."""
    found = []
    for i, sizes in enumerate(({"part": 400, "batch": 400}, {"part": 7, "batch": 3})):
        study = coins(**sizes)
        points = compute(study, Points(tmp_path / str(i), MPI.COMM_SELF))
        found.append(study.further(points)["trials"].to_csv())
    assert found[0] == found[1]


def test_rates_that_are_not_as_expected(tmp_path) -> None:
    study = Coins(
        CoinConfig.model_validate(
            {
                "study": {"name": "coins", "budget": 5, "chance": 0.5, "seeds": 50},
                "check": {"least": {PLAIN: 0.2, "coins": 0.9}, "most": {"coins": 0.5}},
            }
        )
    )
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    failures = study.failures({"table": study.table(points)})
    assert len(failures) == 2
    assert failures[0].startswith(
        f"{PLAIN}: success rate 0 with the interval [0, 0.0713], expected at least"
    )
    assert failures[1].endswith("expected at most 0.5")


@pytest.mark.parametrize("path", sorted(DEMOS.glob("compare_*.toml")), ids=lambda path: path.stem)
def test_points_of_every_comparison(path, tmp_path) -> None:
    """More seeds, another check or output: the same points. Another seed or budget: others."""
    data = tmp_path / "data.csv"
    data.write_text("t,x0\n")
    read = [f"problem.path={data}"] if "\npath =" in path.read_text() else []

    def known(*settings) -> list[str]:
        study = load_study(path, [*read, *settings])
        assert study.arms == study.names()
        return [str(p) for p in study.points()]

    few = known("study.seeds=20", "study.part=10", "study.arms=[]")
    assert len(set(few)) == len(few)
    more = ["study.seeds=30", "study.part=10", "study.arms=[]", "output.figures=false"]
    assert set(few) < set(known(*more, "check.least={}", "check.most={}"))
    for other in ("seed=7", "study.budget=77"):
        assert not set(known(*more, other)) & set(few)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"arms": ["coin"]}, "there is no arm 'coin'"),
        ({"reference": "nothing"}, "there is no arm 'nothing'"),
        ({"arms": ["coins", "coins"]}, "names an arm twice"),
    ],
)
def test_wrong_arms(study, message) -> None:
    with pytest.raises(InputError, match=message):
        coins(**study)


def test_some_arms_only(tmp_path) -> None:
    study = coins(arms=["coins"])
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    table = study.table(points)
    assert table.names == ("coins",)
    assert arms.P not in table.columns  # the reference did not take part


# The tilted double well -------------------------------------------------------------------------


def wells(tmp_path, study, **sections):
    values = {"study": {"name": "compare_wells", **study}, **sections}
    asked = load_study(values)
    points = compute(asked, Points(tmp_path, MPI.COMM_SELF))
    return asked.table(points), asked.further(points)["trials"]


def test_descent_and_multistart_on_the_wells(tmp_path) -> None:
    """Descent ends in the well in which it starts; multistart succeeds where a draw is beyond the saddle.

    The basins meet near the plane where the mean is ``-b``: a start is beyond with the probability
    ``Phi(-(1 - b)/spread)``, since a constant has the norm 1. On four cells the boundary is bent a little.
    """
    b, spread, seeds = 0.3, 0.35, 300
    study = {"budget": 100, "seeds": seeds, "part": seeds, "batch": seeds}
    table, trials = wells(
        tmp_path,
        {**study, "arms": [PLAIN, "multistart"]},
        problem={"tilt": b, "spread": spread, "cells": 4},
    )
    ends = trials[f"{PLAIN}: lowest"]
    lower = np.isfinite(trials[f"{PLAIN}: hit"])
    np.testing.assert_allclose(ends, np.where(lower, -2 * b / 3, 2 * b / 3), atol=1e-9)
    beyond = stats.norm.cdf(-(1 - b) / spread)
    assert abs(lower.mean() - beyond) < 3.5 * np.sqrt(beyond / seeds)
    np.testing.assert_array_equal(trials["multistart: used"], 100.0)
    # Every descent costs what the plain ones do; a start that is cut off at the end counts for none.
    starts = 100 / trials[f"{PLAIN}: used"].mean()
    expected = 1 - (1 - beyond) ** starts
    deviation = np.sqrt(expected * (1 - expected) / seeds)
    assert abs(table[arms.RATE][1] - expected) < 3.5 * deviation + beyond


def test_noise_leaves_the_well_at_the_known_rate(tmp_path) -> None:
    """At a constant temperature ``1 - exp(-T/E tau)`` succeed; the way back is a thousand times longer.

    ``E tau`` is that of the effective potential, the law of Eyring and Kramers is 20 % below at this
    temperature. The step changes the time by its half and the temperature by less, 3 % of ``E tau``.
    """
    b, theta, step, seeds = 0.3, 0.06, 0.02, 300
    time = effective(1.0, theta, 4, 0.8, b)
    assert eyring_kramers(1.0, theta, 4, -b) > 400 * time
    steps = round(time / step)
    table, _ = wells(
        tmp_path,
        {"budget": 2 * steps, "seeds": seeds, "part": seeds, "batch": seeds, "arms": ["noise"]},
        problem={"tilt": b, "cells": 4},
        noise={"theta": theta, "step": step, "share": 0.5},
    )
    expected = 1 - np.exp(-1)
    deviation = np.sqrt(expected * (1 - expected) / seeds)
    assert abs(table[arms.RATE][0] - expected) < 3.0 * deviation + 0.03 * np.exp(-1)
