"""What a posterior predicts: bands, and how well its probabilities hold.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.data.series import TimeSeries
from fem_deepest.figures.style import FAINT, LINES, styled
from fem_deepest.sample import predictive

__all__ = ["bands", "coverage", "reliability", "states"]

Array = NDArray[np.float64]
Pairs = tuple[Array, Array]

_SHOWN = 4  # components of a path
_LOOK = {"point": (LINES[1], "s", "point estimate"), "posterior": (LINES[0], "o", "posterior")}


@styled
def bands(
    x: Array,
    both: Mapping[str, Array],
    sigma: float,
    train: Pairs,
    other: Pairs | None = None,
    name: str = "test",
) -> Figure:
    """Predictive of one output over one input, of the posterior and of the point estimate.

    Args:
        x: (m,), increasing.
        both: Predictions of "point" and "posterior" without noise, (S, m).
        sigma: Deviation of the noise.
        train: Inputs and targets that were learnt from.
        other: Others, if there are any, called ``name``.
        name: What they are.
    """
    figure = Figure(figsize=(12.5, 5.2))
    rows = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(rows, ("posterior", "point"), strict=True):
        ensemble, (colour, _, label) = both[kind], _LOOK[kind]
        for low, high, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.3)):
            ends = [predictive.quantile(ensemble, sigma, p) for p in (low, high)]
            inside = f"{100 * (high - low):.0f} % of observations"
            axes.fill_between(x, *ends, color=colour, alpha=alpha, linewidth=0, label=inside)
        axes.plot(x, ensemble.mean(axis=0), color=colour, label="mean")
        if other is not None:
            below = predictive.cdf(_at(ensemble, x, other[0]), sigma, other[1])
            inside = f"{name}: {100 * predictive.coverage(below, 0.9):.0f} % in the 90 % interval"
            axes.plot(*other, ".", color=FAINT, markersize=4, label=inside)
        axes.plot(*train, "o", color="black", markersize=5, label="training")
        axes.set(xlabel="input", title=label)
        axes.legend(fontsize=10)
    seen = np.concatenate([train[1], other[1] if other is not None else train[1]])
    margin = 0.35 * np.ptp(seen)
    rows[0].set_ylabel("output")
    rows[0].set_ylim(seen.min() - margin, seen.max() + 1.6 * margin)
    return figure


def _at(draws: Array, x: Array, where: Array) -> Array:
    """Curves (S, m) at other inputs, (S, k)."""
    return np.array([np.interp(where, x, one) for one in draws])


@styled
def coverage(both: Mapping[str, Array]) -> Figure:
    """Coverage of the central intervals against their probability.

    Args:
        both: Predictive distribution functions of "point" and "posterior" at the observations, see
            :func:`.cdf`.
    """
    figure = Figure(figsize=(6.4, 5.6))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.8)
    for kind, below in both.items():
        colour, marker, label = _LOOK[kind]
        held = [predictive.coverage(below, p) for p in predictive.LEVELS]
        label = f"{label}, error {predictive.coverage_error(below):.3f}"
        axes.plot(predictive.LEVELS, held, color=colour, marker=marker, label=label)
    axes.set(xlabel="probability of the interval", ylabel="observations in it")
    axes.set(xlim=(0, 1), ylim=(0, 1), title=f"{below.size} observations")
    axes.legend(loc="upper left")
    return figure


@styled
def reliability(both: Mapping[str, predictive.Reliability], title: str = "") -> Figure:
    """How often the likeliest class is right, against the probability that it is given.

    Args:
        both: Bins of "point" and "posterior".
        title: What the samples are.
    """
    figure = Figure(figsize=(6.8, 7.0))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.8)
    for i, (kind, bins) in enumerate(both.items()):
        colour, marker, label = _LOOK[kind]
        label = f"{label}, expected error {bins.error:.3f}"
        held = bins.samples > 0
        edges = np.linspace(0.0, 1.0, bins.samples.size + 1)
        # Deviation of a fraction of so many samples: bins with few say little.
        spread = np.sqrt(bins.confidence * (1.0 - bins.confidence) / np.maximum(bins.samples, 1))
        axes.errorbar(
            bins.confidence[held],
            bins.accuracy[held],
            spread[held],
            color=colour,
            marker=marker,
            elinewidth=1.2,
            label=label,
        )
        width = 0.4 * (edges[1] - edges[0])
        centres = 0.5 * (edges[1:] + edges[:-1]) + (i - 0.5) * width
        below.bar(centres, bins.samples, width, color=colour)
    axes.set(ylabel="fraction right", xlim=(0, 1), ylim=(0, 1.02), title=title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center")
    below.set(xlabel="probability of the likeliest class", ylabel="samples", yscale="log")
    return figure


@styled
def states(t: Array, x: Array, series: TimeSeries) -> Figure:
    """Bands of the first components of a path, with its data and its truth where it is known.

    Args:
        t: Depths, (m,).
        x: Draws of the path, (S, m, D).
        series: The data.
    """
    order = [*series.components, *(i for i in range(x.shape[2]) if i not in series.components)]
    hidden = order[len(series.components) :]
    half = _SHOWN // 2
    shown = [*order[: max(half, _SHOWN - len(hidden))][: len(series.components)], *hidden][:_SHOWN]
    figure = Figure(figsize=(10.5, 1.4 + 1.9 * len(shown)))
    rows = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, i in zip(rows, shown, strict=True):
        for low, high, alpha in ((0.05, 0.95, 0.25), (0.25, 0.75, 0.35)):
            ends = (predictive.quantile(x[..., i], 0.0, p) for p in (low, high))
            label = f"{100 * (high - low):.0f} %"
            axes.fill_between(t, *ends, color=LINES[0], alpha=alpha, linewidth=0, label=label)
        axes.plot(t, x[..., i].mean(axis=0), color=LINES[0], linewidth=1.5, label="mean")
        if series.truth is not None:
            truth = series.truth[:, i]
            axes.plot(series.times, truth, "--", color="black", linewidth=1.3, label="truth")
        if i in series.components:
            y = series.values[:, list(series.components).index(i)]
            axes.plot(series.times, y, ".", color=LINES[1], markersize=4, label="data")
        axes.set_ylabel(f"$x_{{{i}}}$" + ("" if i in series.components else ", hidden"))
    handles = {
        label: h
        for axes in rows
        for h, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    rows[-1].set_xlabel("$t$")
    return figure
