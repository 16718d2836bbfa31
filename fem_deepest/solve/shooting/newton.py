"""Newton's method for the saddle form: all slabs at once, one Krylov solve a step.

Every step solves the KKT system by GMRES with :class:`.DepthBlocks`, as exactly as the residual is small
(Dembo, Eisenstat, Steihaug 1982, doi:10.1137/0719025), and is halved until the residual falls in the dual
norm. A stationary point of the Lagrangian is one of the action, minimum or saddle: start near a minimum,
as a training of few steps or a coarser level leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.lmvm import Iterate, shell
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.outcome import Outcome
from fem_deepest.solve.shooting.blocks import DepthBlocks
from fem_deepest.solve.shooting.saddle import SlabSaddle

_LOOSEST = 0.1
_TIGHTEST = 1e-10
_INNER = 500  # most GMRES iterations of a step, none of them a restart
_HALVINGS = 20


@dataclass(frozen=True)
class SaddleOutcome(Outcome):
    """End of one solve.

    Attributes:
        linear: GMRES iterations of each step.
        residual: Dual norm of the last residual.
    """

    linear: list[int]
    residual: float


class SaddleMetric:
    """Riesz map of ``(u, X, lambda)``: ``P``, and L2 over index and samples for states and costates."""

    def __init__(self, saddle: SlabSaddle) -> None:
        self._saddle = saddle
        self._state = saddle.network.index.weights[:, None] / saddle.samples
        # A costate is a dual vector: it is measured by the inverse mass.
        self._costate = 1.0 / (saddle.network.index.weights[:, None] * saddle.samples)
        self._a, self._b = saddle.space.create(), saddle.space.create()

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """The Riesz map. Collective."""
        self._on(d, r, self._saddle.prior.apply, self._state, self._costate)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """Its inverse. Collective."""
        self._on(r, d, self._saddle.prior.solve, 1.0 / self._state, 1.0 / self._costate)

    def _on(
        self,
        a: PETSc.Vec,
        b: PETSc.Vec,
        operation: Callable[[PETSc.Vec, PETSc.Vec], None],
        state: np.ndarray,
        costate: np.ndarray,
    ) -> None:
        source, target = self._saddle.split(a.array_r), self._saddle.split(b.array_w)
        self._a.array_w[...] = source[0]
        operation(self._a, self._b)
        target[0][...] = self._b.array_r
        np.multiply(state, source[1], out=target[1])
        np.multiply(costate, source[2], out=target[2])


class Step:
    """GMRES for ``L'' d = -r`` at the point of the last residual.

    Args:
        saddle: The saddle form.
        blocks: Its preconditioner.
        v: A vector of the space.

    Attributes:
        converged: Whether the last solve reached its tolerance.

    Collective: every method.
    """

    def __init__(self, saddle: SlabSaddle, blocks: DepthBlocks, v: PETSc.Vec) -> None:
        self._blocks, self.converged = blocks, False
        self._operator = shell(saddle.product, v)
        self._ksp = ksp = PETSc.KSP().create(v.getComm())
        ksp.setOptionsPrefix("saddle_")
        ksp.setOperators(self._operator)
        ksp.setType("gmres")
        ksp.setGMRESRestart(_INNER)
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(blocks)
        options, name = PETSc.Options(), "saddle_ksp_gmres_cgs_refinement_type"
        if not options.hasName(name):
            options.setValue(name, "refine_always")  # the default loses it among large eigenvalues
            ksp.setFromOptions()
            options.delValue(name)
        else:
            ksp.setFromOptions()

    def solve(self, r: PETSc.Vec, d: PETSc.Vec, tolerance: float) -> int:
        """Overwrite ``d`` by the step, with a preconditioned residual reduced by ``tolerance``.

        Returns:
            Iterations; :attr:`converged` says whether they were enough.
        """
        self._blocks.update()
        self._ksp.setTolerances(rtol=tolerance, atol=0.0, max_it=_INNER)
        self._ksp.solve(r, d)
        self.converged = self._ksp.getConvergedReason() > 0
        d.scale(-1.0)
        return int(self._ksp.getIterationNumber())

    def destroy(self) -> None:
        """Free PETSc's objects."""
        self._ksp.destroy()
        self._operator.destroy()


def solve_saddle(
    saddle: SlabSaddle,
    v: PETSc.Vec,
    blocks: DepthBlocks,
    *,
    tolerance: float,
    iterations: int = 30,
    monitor: Callable[[Iterate], None] | None = None,
) -> SaddleOutcome:
    """Go from ``v`` to a stationary point of the Lagrangian, in place.

    PETSc options ``-saddle_ksp_*`` are obeyed.

    Args:
        saddle: The saddle form.
        v: Start, as :meth:`.SlabSaddle.start` makes it from a control; on return the last point.
        blocks: Preconditioner.
        tolerance: Dual norm of the residual to reach.
        iterations: Largest number of steps.
        monitor: Called at the start and after every step.

    Raises:
        NumericalFailure: The residual is not finite at the start.

    Collective.
    """
    metric, step = SaddleMetric(saddle), Step(saddle, blocks, v)
    r, d, trial = (v.duplicate() for _ in range(3))
    counts = list[int]()

    def look(at: PETSc.Vec) -> float:
        try:
            saddle.gradient(at, r)
        except NumericalFailure:
            return np.inf
        norm = dual_norm(metric, r)
        return norm if np.isfinite(norm) else np.inf

    def outcome(reason: str) -> SaddleOutcome:
        converged = reason.startswith("converged")
        return SaddleOutcome(converged, reason, len(counts), counts, norm)

    try:
        norm = look(v)
        if not np.isfinite(norm):
            raise NumericalFailure("the residual is not finite at the start; take another one")
        while True:
            if monitor is not None:
                monitor(Iterate(v, saddle.action, norm, len(counts)))
            if norm <= tolerance:
                return outcome("converged_fnorm_abs")
            if len(counts) >= iterations:
                return outcome("diverged_max_it")
            rtol = min(_LOOSEST, max(norm, 0.1 * tolerance / norm, _TIGHTEST))
            counts.append(step.solve(r, d, rtol))
            for halving in range(_HALVINGS):
                trial.waxpy(0.5**halving, d, v)
                new = look(trial)
                if new < (1.0 - 1e-4 * 0.5**halving) * norm:
                    break
            else:
                return outcome("diverged_line_search")
            norm = new
            trial.copy(v)
    finally:
        step.destroy()
        for thing in (r, d, trial):
            thing.destroy()
