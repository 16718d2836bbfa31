# # Action levels of Lorenz 96
#
# The ten variables of
#
# $$ x_i' = x_{i-1}\,(x_{i+1} - x_{i-2}) - x_i + f, \qquad i \bmod 10, $$
#
# are chaotic at the forcing $f = 8.17$. Four of them have been observed at 161 times, with noise of
# deviation 1. What did the other six do, and what is $f$? Both are found by minimising the action of a
# path,
#
# $$ A(x, f) = \frac{R_m}{2} \sum_j |H x(t_j) - y_j|^2 + \frac{R_f}{2} \int_0^T |x' - F(x, f)|^2\,dt , $$
#
# over all paths. With a large precision $R_f$ of the model this function has many minima, and a search
# from a random path ends at a bad one. *Precision annealing* begins where the model hardly counts, at a
# small $R_f$, and follows the minimiser while $R_f$ grows. Many random paths are started; the values of
# the action they end at are the *action levels*. If the lowest one stands apart, and its measurement
# error is what the noise explains, its path is the estimate.
#
#     docker/run python demos/lorenz96.py

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import fem_deepest
from fem_deepest.configuration.anneal import load_annealing
from fem_deepest.figures.style import LINES, styled
from fem_deepest.runs.anneal import Annealed
from fem_deepest.runs.path_search import PathSearch

HERE = Path(__file__).resolve().parent

# ## The levels
#
# The configuration is that of the command. The data are made by integrating the equations and adding
# Gaussian noise with a fixed seed, so the truth is known.


def run(paths: int, settings: list[str]) -> tuple[Annealed, PathSearch]:
    """The annealed paths, and the problem with its truth."""
    settings = [f"anneal.paths={paths}", "output.figures=false", *settings]
    with tempfile.TemporaryDirectory() as folder:
        done = fem_deepest.anneal(HERE / "lorenz96.toml", out=folder, settings=settings)
    config = load_annealing(HERE / "lorenz96.toml", settings)
    return done, PathSearch.create(config)


# At the truth the measurement term is half a $\chi^2$ variable with $4 \cdot 161 = 644$ degrees of
# freedom: $322 \pm 18$. A level far above it cannot be explained by noise.


def report(done: Annealed) -> None:
    """The levels at the last precision."""
    last = max(level.beta for level in done.levels)
    expected = done.metrics["expected_measurement"]
    deviation = done.metrics["expected_measurement_deviation"]
    print(f"measurement term expected at the truth: {expected:.0f} +- {deviation:.0f}")
    for level in done.levels:
        if level.beta == last:
            print(
                f"level {level.level}: action {level.action:10.4f}, measurement "
                f"{level.measurement:10.4f}, {100 * level.fraction:.0f} % of the paths"
            )
    print(f"lowest path: f = {done.metrics['f']:.3f} (truth 8.17), rms {done.metrics['rmse']:.3f}")


# ## The path
#
# The lowest path beside the truth: an observed component with its data, and one that nobody saw.


@styled
def draw(done: Annealed, problem: PathSearch):  # type: ignore[no-untyped-def]
    """An observed and an unobserved component."""
    from matplotlib.figure import Figure

    series = problem.series
    assert series.truth is not None
    path = done.lowest
    hidden = next(i for i in range(5, 10) if i not in series.components)
    figure = Figure(figsize=(10, 6))
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(series.times, series.values[:, 0], "o", color="0.6", markersize=4, label="data")
    for axes, i, what in (
        (upper, series.components[0], "observed"),
        (lower, hidden, "not observed"),
    ):
        axes.plot(series.times, series.truth[:, i], color=LINES[0], linewidth=3.0, label="truth")
        axes.plot(path.t, path.x[:, i], "--", color=LINES[1], linewidth=2.0, label="lowest path")
        axes.set_ylabel(f"$x_{i}$, {what}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    lower.set_xlabel("time")
    figure.suptitle(f"Lorenz 96, 4 of 10 variables observed: $f$ = {done.metrics['f']:.3f}")
    return figure


# ## All of it


def main(paths: int = 100, settings: list[str] | None = None, out: Path | None = None) -> float:
    """The forcing of the lowest path."""
    done, problem = run(paths, settings or [])
    report(done)
    if out is not None:
        from fem_deepest import figures

        picture = figures.levels(
            problem.precisions / problem.scale,
            *(done.record[..., i] for i in range(3)),
            expected=problem.expected,
        )
        print(figures.save(picture, out / "lorenz96_levels.png"))
        print(figures.save(draw(done, problem), out / "lorenz96_path.png"))
    return done.metrics["f"]


if __name__ == "__main__":
    main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "."))
