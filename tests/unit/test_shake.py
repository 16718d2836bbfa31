"""Noise at a minimum: how far it lifts, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from landscapes import Quadratic, Well

from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.search import Descent, Plan
from fem_deepest.annealed.shake import shake


def stay(U):
    """No descent at all."""
    return Descent(U, np.full(U.shape[1], -1.0), np.ones(U.shape[1], bool), np.zeros(U.shape[1]))


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_noise_lifts_the_action_by_the_part_asked_for(part: float) -> None:
    """On a quadratic well ``n`` unknowns have ``E A = n theta/2`` above the minimum, whatever ``A`` is.

    ``2 A/n`` degrees of freedom: the mean of the lift over columns has the relative deviation
    ``sqrt(2/(n S))``. The scheme has the exact law, so nothing else is lost.
    """
    n, many = 40, 250
    landscape = Quadratic(np.eye(n), np.eye(n))
    values = np.linspace(0.5, 400.0, many)
    lift = np.empty(many)

    def watch(flow) -> None:
        lift[:] = flow.values

    plan = Plan(Constant(part), steps=60, step=1.0, ends=("last",))
    shake(landscape, np.zeros((n, many)), values, plan, stay, range(many), watch)
    ratio = np.mean(lift / (part * values))
    assert abs(ratio - 1.0) < 4.0 * np.sqrt(2.0 / (n * many))


def test_only_what_is_lower_is_kept() -> None:
    """From both wells of a tilted double well: those in the upper one may leave, the others do not."""
    landscape, many = Well(p=8.0, tilt=0.3), 40
    roots = np.sort(np.roots([4.0, 0.0, -4.0, 0.3]).real)
    U = np.repeat(roots[[2, 0]], many)[None]
    values = landscape.value(U) + 1.0  # positive, the same for all of a well
    shifted = Shifted(landscape)

    def descend(U):
        at = np.where(U[0] > roots[1], roots[2], roots[0])[None]
        return Descent(at, shifted.value(at), np.ones(at.size, bool), np.zeros(at.size))

    plan = Plan(Constant(0.5), steps=100, step=0.2, seed=3)
    found, lower = shake(shifted, U, values, plan, descend, range(2 * many))
    assert lower[:many].sum() > 5
    assert not lower[many:].any()
    assert (found.values[lower] < values[lower]).all()
    assert found.U[0, lower] == pytest.approx(roots[0])


class Shifted(Well):
    """A well of positive action."""

    def __init__(self, well: Well) -> None:
        super().__init__(well.p, well.tilt)

    def value(self, U):
        return super().value(U) + 1.0
