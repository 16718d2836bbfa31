"""The action of a path as a weak-constraint problem, for its saddle and its forcing form."""

from __future__ import annotations

import numpy as np

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.ends import End, EndConditions, Gaussian
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.errors import InputError


class WeakPaths:
    """The action of :class:`fem_deepest.action.paths.action.Paths` as a weak-constraint problem.

    ``A = 2 c_m A_weak`` if the constants before the model term are those of the integral, up to a
    factor that ``R_f`` takes.

    Args:
        paths: The action.

    Attributes:
        factor: ``2 c_m``.

    Raises:
        InputError: The constants of the normalisation differ from cell to cell.

    Nothing here is collective.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths, self.factor = paths, 2.0 * paths.measurement_weight
        scale = 2.0 * paths.model_weights / (self.factor * paths.defects.steps)
        if np.ptp(scale) > 1e-6 * scale.max():
            raise InputError(
                "the saddle and the forcing form weigh the model error by the lengths of the cells, which "
                "this normalisation does not on a mesh of unequal cells; take action.form = 'state', or "
                "action.normalisation = 'integral'"
            )
        self._scale = float(scale.mean())

    def precision(self, R_f: float) -> float:
        """``R_f`` of the weak problem."""
        return self._scale * R_f

    def problem(self, R_f: float) -> WeakProblem:
        """The weak problem at a precision; infinite is the exact model."""
        paths, defects = self.paths, self.paths.defects
        conditions, prior = paths.conditions, paths.prior

        def scaled(end: End) -> End:
            if not isinstance(end, Gaussian):
                return end
            return Gaussian(end.z, np.asarray(end.precision / self.factor))

        return WeakProblem(
            defects.dynamics,
            defects.transcription,
            defects.ends,
            paths.observations,
            self.precision(R_f),
            EndConditions(scaled(conditions.start), scaled(conditions.end), conditions.periodic),
            WeightPrior(prior.strength / self.factor, prior.mean, prior.kappa)
            if prior.strength.any()
            else None,
            defects.varying,
        )
