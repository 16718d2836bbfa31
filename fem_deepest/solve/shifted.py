"""Newton directions that go down: the second variation shifted by the metric until it is positive.

    d = -(A''(u) + tau P)^{-1} dA/du,    tau = 0, or the first of tau_0, 4 tau_0, 16 tau_0, ...

for which no pivot of the factorisation is negative. With ``tau = 0`` it is Newton's direction; a large
``tau`` gives the steepest descent in the metric (Levenberg, Marquardt; Nocedal and Wright, Numerical
Optimization, 2006, section 3.4). As ``P`` measures ``A''``, the same shifts do on every mesh.
"""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.protocol import AssembledAction
from fem_deepest.errors import NumericalFailure

_FIRST = 0.1  # tau_0, an eigenvalue in the metric
_SHIFTS = 30


class ShiftedNewton:
    """Preconditioner of SNES: solves with the shifted second variation.

    Args:
        action: The action.

    Attributes:
        shift: ``tau`` of the last point.
        matrix: ``A'' + tau P`` there; the action's own matrix, which its next use overwrites.

    Every method is collective.
    """

    def __init__(self, action: AssembledAction) -> None:
        self._action, self.shift = action, 0.0
        self.matrix: PETSc.Mat | None = None
        self._factors: Factorisation | None = None

    def linearise(self, u: PETSc.Vec) -> None:
        """Factorise at ``u``.

        Raises:
            NumericalFailure: No shift makes the second variation positive: it is not finite. The
                factors are freed.
        """
        try:
            self._positive(u)
        except Exception:
            self.release()
            raise

    def _positive(self, u: PETSc.Vec) -> None:
        matrix, metric = self._action.second_variation(u), self._action.metric.matrix
        self.matrix, self.shift = matrix, 0.0
        for _ in range(_SHIFTS):
            if self._factors is None:
                self._factors = Factorisation(matrix)
            else:
                self._factors.update()
            negative, zero, _ = self._factors.inertia
            if not negative and not zero:
                return
            larger = 4.0 * self.shift if self.shift else _FIRST
            matrix.axpy(larger - self.shift, metric)
            self.shift = larger
        raise NumericalFailure(
            f"the second variation is not positive even with a shift of {self.shift:.1e}; "
            "start elsewhere"
        )

    def apply(self, _: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """``y = (A'' + tau P)^{-1} x``."""
        assert self._factors is not None
        self._factors.solve(x, y)

    def release(self) -> None:
        """Free the factors."""
        if self._factors is not None:
            self._factors.destroy()
            self._factors = None
