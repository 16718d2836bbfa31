"""Is the minimiser of a network's action the only one? What can be proved beside what is found."""

from __future__ import annotations

from dataclasses import dataclass

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.curvature import MisfitCurvature
from fem_deepest.solve.eigenvalues import lowest_eigenvalues


@dataclass(frozen=True)
class Uniqueness:
    """Provable bounds beside the lowest eigenvalue at a point.

    Attributes:
        strength: ``lambda``.
        threshold: The minimiser is provably unique for every ``lambda`` above this.
        radius: All minimisers lie in ``|u|_P <= radius``.
        curvature: ``c``: the misfit's second variation is at least ``-c P`` in that ball.
        proven: ``1 - c``: no eigenvalue in the metric is lower, anywhere in the ball.
        lowest: Lowest eigenvalue of the second variation in the metric, at the point given.
        error: Its error bound.
    """

    strength: float
    threshold: float
    radius: float
    curvature: float
    proven: float
    lowest: float
    error: float

    @property
    def unique(self) -> bool:
        """Whether uniqueness is proved; if not, nothing is said."""
        return self.proven > 0.0

    def __str__(self) -> str:
        verdict = (
            "the minimiser is unique (proved)"
            if self.unique
            else "uniqueness is not proved at this strength"
        )
        return (
            f"{verdict}: lambda = {self.strength:.4g}, threshold {self.threshold:.4g}; "
            f"mu_min >= {self.proven:.4g} proved, mu_min = {self.lowest:.6g} found"
        )


def uniqueness(action: NetworkAction, u: PETSc.Vec, *, tolerance: float = 1e-9) -> Uniqueness:
    """Report on a minimiser.

    Args:
        action: Action of a network.
        u: A minimiser.
        tolerance: Of the eigenvalue.

    Raises:
        InputError: The loss is neither cross-entropy nor least squares.
        NotConverged: The eigenvalue was not found.

    Collective on the action's grid.
    """
    misfit, strength = MisfitCurvature(action), action.metric.strength
    curvature = misfit.bound(strength)
    spectrum = lowest_eigenvalues(action, u, 1, tolerance=tolerance)
    spectrum.destroy()
    return Uniqueness(
        strength,
        misfit.threshold(),
        misfit.radius,
        curvature,
        1.0 - curvature,
        float(spectrum.values[0]),
        float(spectrum.errors[0]),
    )
