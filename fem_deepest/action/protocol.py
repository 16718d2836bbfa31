"""The four things that solvers, annealing, samplers and studies need from a problem."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fem_deepest._petsc import PETSc


class Metric(Protocol):
    """Riesz map of the control space: ``P`` and ``P^{-1}``, symmetric positive definite."""

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``, a dual vector. Collective."""

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Collective."""


class Action(Protocol):
    """An action ``A(u)`` on a space of PETSc vectors."""

    @property
    def metric(self) -> Metric:
        """Riesz map (prior precision) of the space."""

    def create(self) -> PETSc.Vec:
        """Zero vector of the space. Collective."""

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``, the same on every rank. Collective."""

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """Euler-Lagrange residual ``g = dA/du``, a dual vector; returns ``A(u)``. Collective."""

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """Second variation ``r = A''(u) d``, a dual vector. Collective."""


class AssembledMetric(Metric, Protocol):
    """A Riesz map that is a sparse matrix.

    Attributes:
        matrix: ``P``.
    """

    matrix: PETSc.Mat


@runtime_checkable
class AssembledAction(Protocol):
    """An action that can also assemble its second variation: direct solvers can be used."""

    @property
    def metric(self) -> AssembledMetric:
        """Riesz map of the space."""

    def second_variation(self, u: PETSc.Vec) -> PETSc.Mat:
        """``A''(u)`` as a sparse matrix; the next call may overwrite it. Collective."""
