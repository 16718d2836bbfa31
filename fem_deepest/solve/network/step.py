"""One damped step of a network's action: Gauss and Newton's, or that of the exact second variation."""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.states import StateAction
from fem_deepest.solve.network.gauss_newton import GaussNewton

_FORCING = 1e-2  # decrease of the preconditioned residual in a Newton step, squared
_INNER = 40  # most conjugate gradients of a Newton step


class Step:
    """A step and the decrease that the model without damping predicts for it.

    Attributes:
        d: The step.
        predicted: Decrease of the model that made the step.
        exact: Decrease of the model with the exact second variation.

    Collective: construction and every method.
    """

    def __init__(self, action: StateAction | NetworkAction) -> None:
        self._action = action
        self.d, self._p, self._z, self._r, self._hp, self._w = (action.create() for _ in range(6))
        self.predicted = self.exact = 0.0

    def solve(
        self, system: GaussNewton, u: PETSc.Vec, g: PETSc.Vec, mu: float, newton: bool
    ) -> bool:
        """Make a step; returns whether no negative curvature was met."""
        if newton:
            positive = self._newton(system, u, g, mu)
            if self.predicted > 0.0:
                return positive
        system.solve(g, self.d, 1.0 + mu)
        self.d.scale(-1.0)
        slope = -g.dot(self.d)
        system.damping(self.d, self._w)
        self._action.hessian(u, self.d, self._hp)
        # (H + mu P) d = -g gives the curvature of the Gauss-Newton model.
        self.predicted = 0.5 * (slope + mu * self.d.dot(self._w))
        self.exact = slope - 0.5 * self.d.dot(self._hp)
        return not newton

    def _newton(self, system: GaussNewton, u: PETSc.Vec, g: PETSc.Vec, mu: float) -> bool:
        """Conjugate gradients on ``A'' + mu P``, ended at negative curvature; false if it was met."""
        positive = True
        d, p, z, r, hp, w = self.d, self._p, self._z, self._r, self._hp, self._w
        d.zeroEntries()
        g.copy(r)
        system.solve(r, z, 1.0 + mu)
        z.copy(p)
        p.scale(-1.0)
        rz = first = r.dot(z)
        self.predicted = 0.0
        for _ in range(_INNER):
            self._action.hessian(u, p, hp)
            system.damping(p, w)
            damped = mu * p.dot(w)
            curvature = p.dot(hp) + damped
            if curvature <= 0.0:
                positive = False
                break
            alpha = rz / curvature
            d.axpy(alpha, p)
            self.predicted += 0.5 * alpha * rz
            hp.axpy(mu, w)
            r.axpy(alpha, hp)
            system.solve(r, z, 1.0 + mu)
            new = r.dot(z)
            if new <= min(_FORCING, first) * first:
                break
            p.scale(new / rz)
            p.axpy(-1.0, z)
            rz = new
        system.damping(d, w)
        self.predicted += 0.5 * mu * d.dot(w)
        self.exact = self.predicted
        return positive

    def destroy(self) -> None:
        """Free the vectors."""
        for vec in (self.d, self._p, self._z, self._r, self._hp, self._w):
            vec.destroy()
