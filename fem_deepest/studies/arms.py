"""What arms of a comparison have found, summed up over the seeds.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.studies.proportion import censored_quantile, holm, mcnemar, wilson

Array = NDArray[np.float64]

SEEDS, SUCCESSES, RATE, LOW, HIGH = "seeds", "successes", "success rate", "rate low", "rate high"
FIRST, MEDIAN, THIRD = "evaluations, quartile", "evaluations, median", "evaluations, third quartile"
EXPECTED, USED = "evaluations per success", "evaluations used, mean"
LOWEST, MIDDLE = "lowest action", "median action"
P, HOLM = "p, McNemar", "p, Holm"


@dataclass(frozen=True, eq=False)
class Trial:
    """What an arm has found from several seeds side by side.

    Attributes:
        lowest: Lowest action of all points that were evaluated within the budget, (S,).
        hit: Gradient evaluations when the action of a point first was at or below the threshold, that
            evaluation included, (S,); infinite where it never was. Iterates on the way count like
            finished ones.
        used: Gradient evaluations in all, (S,), not more than the budget.
    """

    lowest: Array
    hit: Array
    used: Array


def summary(trials: Mapping[str, Trial], reference: str | None = None) -> dict[str, Array]:
    """Columns of a table with one row for each arm.

    * numbers of seeds and successes, the success rate with Wilson's 95 % interval;
    * quartiles of the evaluations to success over *all* seeds, infinite where fewer than that share
      succeed; evaluations of all seeds until each has succeeded or ended, for one success: the expected
      cost of independent runs until the first success (A. Auger, N. Hansen 2005,
      doi:10.1109/CEC.2005.1554902). What an arm does after its success is not counted there;
    * the lowest action of all seeds, and quantiles of the lowest of each seed;
    * level of McNemar's exact test against the reference, on the same seeds, and by Holm for all arms
      together.

    Args:
        trials: What each arm found, from the same seeds.
        reference: Arm that the others are tested against; none if None.
    """
    rows = list(trials.values())
    hits = [np.isfinite(t.hit) for t in rows]
    seeds = np.array([h.size for h in hits], dtype=np.float64)
    successes = np.array([h.sum() for h in hits], dtype=np.float64)
    low, high = wilson(successes, seeds)
    columns = {SEEDS: seeds, SUCCESSES: successes, RATE: successes / seeds, LOW: low, HIGH: high}
    for name, share in ((FIRST, 0.25), (MEDIAN, 0.5), (THIRD, 0.75)):
        columns[name] = np.array([censored_quantile(t.hit, share) for t in rows])
    used = np.array([t.used.sum() for t in rows])
    until = np.array([np.minimum(t.hit, t.used).sum() for t in rows])
    with np.errstate(divide="ignore"):
        columns[EXPECTED] = until / successes
    columns[USED] = used / seeds
    columns[LOWEST] = np.array([t.lowest.min() for t in rows])
    for name, share in (
        ("action, quartile", 0.25),
        (MIDDLE, 0.5),
        ("action, third quartile", 0.75),
    ):
        columns[name] = np.array([_quantile(t.lowest, share) for t in rows])
    if reference is not None:
        known = np.isfinite(trials[reference].hit)
        others = np.array([name != reference for name in trials])
        p = np.array(
            [mcnemar(h, known) if o else np.nan for h, o in zip(hits, others, strict=True)]
        )
        columns[P], columns[HOLM] = p, np.full_like(p, np.nan)
        columns[HOLM][others] = holm(p[others])
    return columns


def _quantile(lowest: Array, share: float) -> float:
    """The quantile, interpolated; NumPy's is not a number beside an infinite one."""
    ordered, at = np.sort(lowest), share * (lowest.size - 1)
    below = int(at)
    if at == below or np.isinf(ordered[below + 1]):
        return float(ordered[below if at == below else below + 1])
    return float(ordered[below] + (at - below) * (ordered[below + 1] - ordered[below]))
