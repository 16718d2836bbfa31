"""Tables whose orders are known: observed, fitted, expected, checked, written and read back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fem_deepest.errors import InputError
from fem_deepest.studies.column import Errors
from fem_deepest.studies.table import Table

N = np.array([4.0, 8.0, 20.0, 70.0])  # ratios 2, 2.5, 3.5: no order comes from an assumed ratio
SECONDS = np.array([0.125, 1.0, np.nan, 1e-3])


def powers(**orders: float) -> Table:
    """Errors ``3 n^-p`` with the expected order ``p``."""
    errors = {name: Errors(3.0 * N**-p, p) for name, p in orders.items()}
    return Table("n", N, errors, SECONDS)


def noisy(samples: int = 6, refined: np.ndarray = N) -> Table:
    random = np.random.default_rng(1)
    draws = refined[:, None] ** -0.5 * (1 + 0.1 * random.standard_normal((refined.size, samples)))
    return Table(
        "samples K",
        refined,
        {"strong": Errors.sampled(draws, 0.5), "other": Errors(refined**-0.7)},
        np.ones(refined.size),
        {"kurtosis": [3.0, 3.5, np.nan, 1 / 3]},
    )


def test_orders_of_powers_are_exact() -> None:
    table = powers(a=2.0, b=0.5, cost=-1.5)
    for name, p in {"a": 2.0, "b": 0.5, "cost": -1.5}.items():
        np.testing.assert_allclose(table.orders(name), p, rtol=1e-14)
        assert table.fit(name).order == pytest.approx(p, rel=1e-13)
        assert np.isnan(table.fit(name).low)


def test_orders_in_a_width_are_those_in_a_number() -> None:
    width = Table("h", 1.0 / N, {"e": Errors((1.0 / N) ** 1.5)}, SECONDS)
    np.testing.assert_allclose(width.orders("e"), 1.5, rtol=1e-14)
    assert width.fit("e").order == pytest.approx(1.5)


def test_observed_orders_of_a_sum_of_powers() -> None:
    """``e = n^-1 + n^-2``: by hand log2(20/10) is not in it, the rows are what they are."""
    table = Table("n", [2.0, 4.0, 8.0], {"e": Errors([0.75, 0.3125, 0.140625])}, np.ones(3))
    np.testing.assert_allclose(table.orders("e"), np.log2([2.4, 2.2222222222222223]), rtol=1e-14)
    # The fit through equally spaced logarithms is half the logarithm of the outer ratio.
    assert table.fit("e").order == pytest.approx(0.5 * np.log2(0.75 / 0.140625))
    assert table.fit("e", 2).order == pytest.approx(table.orders("e")[-1])


def test_errors_without_logarithm_are_left_out() -> None:
    table = Table("n", N, {"e": Errors([1.0, 0.0, np.nan, (4 / 70) ** 2])}, SECONDS)
    assert np.isnan(table.orders("e")).all()
    assert table.fit("e").order == pytest.approx(2.0)
    assert np.isnan(table.fit("e", 2).order)
    assert np.isnan(Table("n", [4.0], {"e": Errors([1.0], 1.0)}, [1.0]).fit("e").order)


def test_sampled_means_and_interval() -> None:
    """Student's interval in its textbook form."""
    samples = np.array([[1.0, 2.0, 4.0, 9.0], [5.0, 5.0, 5.0, 5.0]])
    errors = Errors.sampled(samples, confidence=0.9)
    np.testing.assert_allclose(errors.values, [4.0, 5.0])
    low, high = stats.t.interval(0.9, 3, loc=4.0, scale=stats.sem(samples[0]))
    np.testing.assert_allclose([errors.low[0], errors.high[0]], [low, high], rtol=1e-13)
    assert errors.low[1] == errors.high[1] == 5.0


def test_interval_of_the_mean_covers() -> None:
    """95 % of 2000 intervals of standard normal draws hold the mean, to four standard errors."""
    errors = Errors.sampled(np.random.default_rng(0).standard_normal((2000, 5)))
    covered = np.mean((errors.low <= 0.0) & (errors.high >= 0.0))
    assert abs(covered - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / 2000)


def test_fit_of_sampled_errors_weights_rows_and_covers() -> None:
    """Weights are those of ``numpy.polyfit``, and intervals of the slope hold it 95 times of 100."""
    table = noisy()
    errors = table.errors["strong"]
    width = 0.5 * (errors.high - errors.low) / errors.values
    slope = np.polyfit(np.log(N), np.log(errors.values), 1, w=1.0 / width)[0]
    assert table.fit("strong").order == pytest.approx(-slope, rel=1e-12)
    random, covered, trials = np.random.default_rng(2), 0, 400
    for _ in range(trials):
        half = np.array([0.02, 0.05, 0.02, 0.1])  # 95 % half-widths, relative
        e = N**-0.5 * np.exp(half / 1.959964 * random.standard_normal(4))
        fit = Table("n", N, {"e": Errors(e, 0.5, e - half * e, e + half * e)}, SECONDS).fit("e")
        covered += fit.low <= 0.5 <= fit.high
    assert abs(covered / trials - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / trials)


def test_check_says_what_is_not_as_expected() -> None:
    assert powers(a=2.0, b=0.5).check(1e-10) == []
    wrong = Table("n", N, {"e": Errors(N**-1.7, 2.0), "free": Errors(N**-0.1)}, SECONDS)
    (sentence,) = wrong.check(0.25)
    assert sentence == "e: observed order 1.7, expected 2 within 0.25"
    assert wrong.check(0.35) == []
    # A better order is no better: it shows that something else is measured.
    assert len(Table("n", N, {"e": Errors(N**-2.3, 2.0)}, SECONDS).check(0.25)) == 1
    finest = 70.0**-0.1
    (sentence,) = wrong.check(0.35, {"free": 0.99 * finest})
    assert sentence.startswith("free: the finest error is 0.654, above 0.64")
    assert wrong.check(0.35, {"free": 1.01 * finest}) == []
    unfitted = Table("n", N, {"e": Errors(np.zeros(4), 2.0)}, SECONDS)
    assert "observed order nan" in unfitted.check()[0]
    broken = Table("n", N, {"e": Errors([1.0, 1.0, 1.0, np.nan])}, SECONDS)
    assert broken.check(caps={"e": 1.0}) != []
    with pytest.raises(InputError, match="no errors 'g'; the table has e, free"):
        wrong.check(caps={"g": 1.0})


def test_check_allows_for_the_interval_of_the_fit() -> None:
    e = N**-0.6
    tight = Table("n", N, {"e": Errors(e, 0.5, 0.999 * e, 1.001 * e)}, SECONDS)
    wide = Table("n", N, {"e": Errors(e, 0.5, 0.8 * e, 1.2 * e)}, SECONDS)
    assert len(tight.check(0.05)) == 1
    assert wide.check(0.05) == []


def test_csv_gives_every_bit_back() -> None:
    table = noisy()
    back = Table.from_csv(table.to_csv())
    assert back.quantity == "samples K"
    assert list(back.errors) == ["strong", "other"]
    np.testing.assert_array_equal(back.refined, table.refined)
    np.testing.assert_array_equal(back.seconds, table.seconds)
    np.testing.assert_array_equal(back.others["kurtosis"], table.others["kurtosis"])
    for name, errors in table.errors.items():
        for part in ("values", "low", "high", "expected"):
            np.testing.assert_array_equal(getattr(back.errors[name], part), getattr(errors, part))
    assert back.to_csv() == table.to_csv()


def test_csv_has_the_columns_of_the_run_directory() -> None:
    lines = noisy().to_csv().splitlines()
    assert lines[0] == (
        "samples K,strong,strong low,strong high,strong order,strong expected,other,other order,"
        "kurtosis,seconds"
    )
    first, second = (line.split(",") for line in lines[1:3])
    assert (first[0], first[4], first[5], first[7]) == ("4", "", "0.5", "")
    assert float(second[7]) == pytest.approx(0.7)
    assert lines[3].split(",")[8] == ""  # nan is an empty cell
    assert powers(a=2.0).to_csv().splitlines()[3].split(",")[-1] == ""


def test_names_with_commas_come_back() -> None:
    table = Table("n", N, {"e, in L2": Errors(1.0 / N)}, SECONDS)
    assert list(Table.from_csv(table.to_csv()).errors) == ["e, in L2"]


def test_markdown_shows_four_digits_and_gives_them_back() -> None:
    table = noisy()
    text = table.to_markdown(2)
    lines = text.splitlines()
    assert len(lines) == 2 + 4 + 1
    assert set(lines[1]) == set("|-: ")
    assert {line.count("|") for line in lines} == {11}
    assert lines[-1].startswith("| fitted |")
    assert f"| {table.fit('other', 2).order:.2f} |" in lines[-1]
    back = Table.from_markdown("A sentence before.\n\n" + text + "\nand after.\n")
    np.testing.assert_array_equal(back.refined, table.refined)
    for name, errors in table.errors.items():
        np.testing.assert_allclose(back.errors[name].values, errors.values, rtol=5.1e-4)
        assert back.errors[name].expected == errors.expected
    assert back.to_markdown(2).splitlines()[:-1] == lines[:-1] or back.refined.size == 4


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "n,seconds\n1,x\n", "n,seconds\n1,2,3\n"])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no table of a study"):
        Table.from_csv(text)


@pytest.mark.parametrize(
    "refined", [[], [1.0, 1.0], [1.0, 3.0, 2.0], [0.0, 1.0], [-1.0, 1.0], [1.0, np.inf], [[1.0]]]
)
def test_refined_quantity_must_be_positive_and_monotone(refined: list) -> None:
    with pytest.raises(InputError, match="coarse to fine"):
        Table("n", refined, {}, np.ones(len(refined)))


@pytest.mark.parametrize(
    "name", ["", " e", "e order", "e low", "a|b", "n", "seconds", 'a"b', "a\nb"]
)
def test_names_that_could_not_be_read_back_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        Table("n", N, {name: Errors(N)}, SECONDS)


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"'e' has shape \(3,\); expected \(4,\)"):
        Table("n", N, {"e": Errors(N[:3])}, SECONDS)
    with pytest.raises(InputError, match="'k' has shape"):
        Table("n", N, {}, SECONDS, {"k": [1.0]})
    with pytest.raises(InputError, match="low of shape"):
        Errors(N, None, N[:2], N)
    with pytest.raises(InputError, match="one end of an interval"):
        Errors(N, None, N)
    with pytest.raises(InputError, match="two or more samples"):
        Errors.sampled(N[:, None])
