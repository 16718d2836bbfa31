"""The four panels by which M. B. Giles shows a multilevel Monte Carlo computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from fem_deepest.figures.style import LINES, MARKERS, styled

if TYPE_CHECKING:
    from fem_deepest.studies.table import Table

__all__ = ["multilevel"]

_SAMPLES = "samples on level "


@styled
def multilevel(table: Table, levels: Table, title: str = "") -> Figure:
    """Variance and mean by level, samples by level and tolerance, work by tolerance.

    M. B. Giles, Multilevel Monte Carlo methods, 2015, doi:10.1017/S096249291500001X, figure 3.1.

    Args:
        table: Tolerances, with the two works and the numbers of samples of each level.
        levels: Levels, with mean and variance of the quantity and of its differences.
        title: Title, if any.

    Returns:
        A figure with four pairs of axes.
    """
    figure = Figure(figsize=(11, 8.4))
    (variance, mean), (samples, work) = figure.subplots(2, 2)
    level = np.arange(levels.refined.size)
    for axes, name, symbol in ((variance, "variance", "V[{}]"), (mean, "mean", "|E[{}]|")):
        whole, one = np.abs(levels.others[name]), symbol.format(r"P_\ell")
        axes.semilogy(level, whole, "--o", color=LINES[1], label=f"${one}$")
        errors = levels.errors[f"{name} of difference"]
        bars = None
        if errors.low is not None and errors.high is not None:
            bars = [errors.values - errors.low, errors.high - errors.values]
        order, pair = levels.fit(f"{name} of difference", 3).order, r"P_\ell - P_{\ell-1}"
        axes.errorbar(
            level,
            errors.values,
            yerr=bars,
            fmt="-s",
            color=LINES[0],
            capsize=5,
            label=f"${symbol.format(pair)}$, order {order:.2f}",
        )
        exact = levels.others.get(f"exact {name} of difference")
        if exact is not None:
            axes.semilogy(level[1:], exact[1:], ":", color="0.2", label="exactly", zorder=5)
        axes.set_yscale("log", nonpositive="clip")
        axes.set_title(name.capitalize())
        axes.legend(loc="lower left")
    for i, tolerance in enumerate(table.refined):
        numbers = np.array(
            [values[i] for name, values in table.others.items() if name.startswith(_SAMPLES)]
        )
        look = {"marker": MARKERS[i % len(MARKERS)], "color": LINES[i % len(LINES)]}
        samples.semilogy(np.arange(numbers.size), numbers, label=f"{tolerance:.3g}", **look)
    samples.set_title(r"Samples $N_\ell$")
    samples.legend(title=r"tolerance $\varepsilon$")
    for axes in (variance, mean, samples):
        axes.set_xlabel(r"level $\ell$")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for name, mark, colour in (
        ("single-level work", "--o", LINES[1]),
        ("multilevel work", "-s", LINES[0]),
    ):
        errors = table.errors[name]
        order = table.fit(name).order
        label = f"{name.split()[0]}, $\\varepsilon^{{{order:.2f}}}$"
        work.loglog(
            table.refined, table.refined**2 * errors.values, mark, color=colour, label=label
        )
    work.xaxis.set_major_locator(FixedLocator([float(eps) for eps in table.refined]))
    work.xaxis.set_major_formatter(FixedFormatter([f"{eps:.3g}" for eps in table.refined]))
    work.xaxis.set_minor_locator(NullLocator())
    work.set_title(r"$\varepsilon^2 \times$ work")
    work.set_xlabel(r"tolerance $\varepsilon$")
    work.set_ylabel("unknowns x steps")
    work.legend()
    if title:
        figure.suptitle(title, fontsize=16)
    return figure
