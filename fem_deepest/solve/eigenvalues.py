"""Lowest eigenvalues of the second variation in the metric, and the Morse index.

    A''(u) v = mu P v.

At a stationary point ``mu_min > 0`` means a strict local minimum; the number of negative eigenvalues
is the Morse index, the number of directions in which a saddle falls. In the metric the eigenvalues
belong to the continuous problem: they converge when the mesh is refined, and where ``P`` is the
principal part of ``A''`` they gather at a positive number, the lowest ones apart.

SLEPc's Krylov-Schur method (Stewart 2001, doi:10.1137/S0895479800371529) is applied to
``P^{-1} A''``, in the inner product of ``P`` and without a shift: it needs products with ``A''`` and
solves with ``P``, no matrix. Where ``A''`` can be assembled it is ``(A'' + tau P)^{-1} P`` instead, with
``tau`` such that the inverse is positive: fast even if ``P`` is far from ``A''``. How far an index can
be trusted:

* at least as many eigenvalues are negative as there are negative Ritz values beyond rounding
  (Courant and Fischer); an eigenvalue lies within ``|A'' v - mu P v|`` (dual norm) of every Ritz value;
* a Krylov method may overlook a further copy of a multiple eigenvalue, so the count is an upper
  bound only by experience;
* where ``A''`` can be assembled the signs of its pivots count exactly (Sylvester).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from slepc4py import SLEPc

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.protocol import Action, AssembledAction
from fem_deepest.errors import NotConverged
from fem_deepest.solve.guard import Guard
from fem_deepest.solve.lmvm import shell
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.newton import Linearised, Riesz
from fem_deepest.solve.shifted import ShiftedNewton

Array = NDArray[np.float64]

_ROUNDING = 4.0  # how much larger rounding may be than its sample


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Lowest eigenpairs of ``A''(u) v = mu P v``.

    Attributes:
        values: ``mu``, ascending, (m,).
        errors: An eigenvalue lies within this distance of each value, (m,).
        vectors: Eigenvectors with ``v . P v = 1``.
    """

    values: Array
    errors: Array
    vectors: list[PETSc.Vec]

    def destroy(self) -> None:
        """Free the eigenvectors."""
        for vector in self.vectors:
            vector.destroy()


@dataclass(frozen=True)
class MorseIndex:
    """Number of negative eigenvalues of the second variation.

    Attributes:
        index: The number.
        undecided: Eigenvalues that may be zero: within their error of it.
        certain: Whether it is counted (Sylvester) and not only a lower bound.
        lowest: The lowest eigenvalue in the metric.
        error: Its error bound.
    """

    index: int
    undecided: int
    certain: bool
    lowest: float
    error: float

    def __str__(self) -> str:
        how = "counted by Sylvester's law" if self.certain else "at least, by Ritz values"
        rest = f", {self.undecided} undecided" if self.undecided else ""
        return f"Morse index {self.index} ({how}{rest}); mu_min = {self.lowest:.6g}"


def lowest_eigenvalues(
    action: Action, u: PETSc.Vec, count: int = 1, *, tolerance: float = 1e-9, iterations: int = 500
) -> Spectrum:
    """The ``count`` lowest eigenvalues.

    PETSc options ``-eps_*`` are obeyed.

    Args:
        action: The action.
        u: A stationary point (any other point gives eigenvalues too, but no index).
        count: How many; at most as many as there are unknowns.
        tolerance: Residual relative to the eigenvalue.
        iterations: Most restarts.

    Raises:
        NotConverged: Not all of them were found.
        NumericalFailure: An assembled second variation cannot be factorised: it is not finite.

    Collective.
    """
    count = min(count, u.getSize())
    guard = Guard()
    linear = Linearised(action, u)
    hessian, metric = shell(guard.wrap(linear.mult), u), shell(action.metric.apply, u)
    operators, which = (hessian, metric), "SMALLEST_REAL"
    inverse: Riesz | ShiftedNewton = Riesz(action.metric)
    shifted = ShiftedNewton(action) if isinstance(action, AssembledAction) else None
    eps = SLEPc.EPS().create(u.getComm())
    start = _start(u)
    vectors = list[PETSc.Vec]()
    try:
        if shifted is not None:
            # P v = (A'' + tau P) v / (mu + tau): the lowest mu comes first.
            shifted.linearise(u)
            operators, inverse, which = (metric, shifted.matrix), shifted, "LARGEST_REAL"
        for matrix in operators:
            matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
            matrix.setOption(PETSc.Mat.Option.HERMITIAN, True)
        eps.setOperators(*operators)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setType(SLEPc.EPS.Type.KRYLOVSCHUR)
        eps.setWhichEigenpairs(getattr(SLEPc.EPS.Which, which))
        eps.setDimensions(count, min(max(2 * count + 15, 30), u.getSize()))
        eps.setTolerances(tolerance, iterations)
        eps.setConvergenceTest(SLEPc.EPS.Conv.REL)
        eps.setInitialSpace([start])
        ksp = eps.getST().getKSP()
        ksp.setType("preonly")
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(inverse)
        eps.setFromOptions()
        with guard:
            eps.solve()
        found = eps.getConverged()
        if found < count:
            raise NotConverged(
                f"{found} of {count} eigenvalues were found in {eps.getIterationNumber()} restarts; "
                "allow more of them or a larger tolerance"
            )
        values, errors = np.empty(count), np.empty(count)
        for i in range(count):
            vector = u.duplicate()
            values[i] = eps.getEigenpair(i, vector).real
            if shifted is not None:
                values[i] = 1.0 / values[i] - shifted.shift
            errors[i], size = _residual(action, linear, values[i], vector)
            vector.scale(1.0 / size)
            vectors.append(vector)
        order = np.argsort(values)
        return Spectrum(values[order], errors[order], [vectors[i] for i in order])
    finally:
        if shifted is not None:
            shifted.release()
        for thing in (eps, hessian, metric, start, linear.point):
            thing.destroy()


def morse_index(
    action: Action, u: PETSc.Vec, *, first: int = 4, tolerance: float = 1e-9
) -> MorseIndex:
    """Number of negative eigenvalues at a stationary point.

    Eigenvalues are computed, lowest first and more and more of them, until one is positive. If the
    action can assemble its second variation the number is checked against Sylvester's inertia.

    Args:
        action: The action.
        u: A stationary point.
        first: So many eigenvalues at first.
        tolerance: See :func:`lowest_eigenvalues`.

    Raises:
        NotConverged: The eigenvalues were not found, or they contradict the inertia.
        NumericalFailure: An assembled second variation cannot be factorised: it is not finite.

    Collective.
    """
    zero, index, certain = 0, 0, False
    if isinstance(action, AssembledAction):
        factors = Factorisation(action.second_variation(u))
        index, zero, _ = factors.inertia
        factors.destroy()
        certain = True
        first = max(1, index + zero)
    count = min(first, u.getSize())
    while True:
        spectrum = lowest_eigenvalues(action, u, count, tolerance=tolerance)
        spectrum.destroy()
        values, errors = spectrum.values, spectrum.errors
        if certain or values[-1] > errors[-1] or count == u.getSize():
            break
        count = min(2 * count, u.getSize())
    negative = int(np.sum(values < -errors))
    undecided = int(np.sum(np.abs(values) <= errors))
    if certain and not negative <= index <= negative + undecided:
        raise NotConverged(
            f"{index} pivots of the second variation are negative but {negative} eigenvalues are "
            f"({undecided} undecided); ask for a smaller tolerance"
        )
    if not certain:
        index = negative
    return MorseIndex(index, max(undecided, zero), certain, float(values[0]), float(errors[0]))


def _residual(
    action: Action, linear: Linearised, value: float, v: PETSc.Vec
) -> tuple[float, float]:
    """``|A'' v - mu P v| / |v|`` with an allowance for rounding, and ``|v|``.

    What SLEPc estimates is no bound. Rounding is sampled: a third of ``v`` gives a third of ``A'' v`` but
    for rounding.
    """
    r, dual, third = v.duplicate(), v.duplicate(), v.copy()
    action.metric.apply(v, dual)
    size = float(np.sqrt(v.dot(dual)))
    linear.mult(v, r)
    third.scale(1.0 / 3.0)
    linear.mult(third, dual)
    dual.aypx(-3.0, r)
    rounding = dual_norm(action.metric, dual)
    action.metric.apply(v, dual)
    r.axpy(-value, dual)
    residual = dual_norm(action.metric, r)
    for thing in (r, dual, third):
        thing.destroy()
    return (residual + _ROUNDING * rounding) / size, size


def _start(u: PETSc.Vec) -> PETSc.Vec:
    """A start with parts along everything, the same on any number of ranks."""
    first, last = u.getOwnershipRange()
    start = u.duplicate()
    entries = np.arange(first, last, dtype=np.float64)
    start.array[...] = np.sin(1.0 + 12.9898 * entries) + 0.5 * np.cos(0.7 * entries**1.5)
    return start
