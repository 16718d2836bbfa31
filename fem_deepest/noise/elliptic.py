"""The operator ``L = kappa^2 - Laplace`` of Whittle-Matern fields, with its boundary condition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from slepc4py import SLEPc

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError, NotConverged
from fem_deepest.noise.covariance import assembled, mass_matrix, solver
from fem_deepest.spaces.axis import DepthAxis
from fem_deepest.spaces.box import bounding_box
from fem_deepest.spaces.constrained import ConstrainedSpace, components
from fem_deepest.spaces.factorised import Factorised
from fem_deepest.spaces.multiplied import Multiplied

Array = NDArray[np.float64]

BOUNDARIES = ("neumann", "dirichlet", "robin", "periodic")
ROBIN = 1.0 / 1.42
_SLACK = 1.1  # a Ritz value may lie below the eigenvalue


class Elliptic:
    """``L = kappa^2 M + K`` and ``M`` on the free dofs, ``Z`` the injection of these into all.

    Boundary conditions: "neumann"; "dirichlet" (zero); "robin" with ``du/dn + r kappa u = 0``;
    "periodic" in the first coordinate and Neumann on the other sides.

    Args:
        V: Lagrange space, scalar or vector-valued.
        kappa: ``kappa``; zero is allowed with "dirichlet".
        boundary: One of these.
        robin: ``r``.
        prefix: Prefix of the options of the solvers.

    Attributes:
        low: Lower bound of the eigenvalues of ``L e = x M e``.

    Raises:
        InputError: ``kappa``, the boundary condition or ``r`` is not possible.

    Collective: construction and every method.
    """

    def __init__(
        self, V: fem.FunctionSpace, kappa: float, boundary: str, robin: float, prefix: str
    ) -> None:
        if boundary not in BOUNDARIES:
            raise InputError(
                f"boundary condition '{boundary}' was given, expected one of {', '.join(BOUNDARIES)}"
            )
        if not 0.0 <= kappa < math.inf or (kappa == 0.0 and boundary != "dirichlet"):
            raise InputError(
                f"kappa = {kappa:g} was given, expected a positive number (zero only with the boundary "
                "condition dirichlet): without it the mean of a field has no variance"
            )
        if not 0.0 < robin < math.inf:
            raise InputError(f"Robin coefficient {robin:g} was given, expected a positive number")
        self.prefix, self._dimension = prefix, int(V.mesh.topology.dim)
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        form = ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
        if kappa > 0.0:
            form += kappa**2 * ufl.inner(u, v) * ufl.dx
        if boundary == "robin":
            form += robin * kappa * ufl.inner(u, v) * ufl.ds
        L, M = assembled(form), mass_matrix(V)
        self._inject = self._restrict = None
        if boundary in ("dirichlet", "periodic"):
            everywhere = [(i, _everywhere) for i, _ in enumerate(components(V))]
            held: Any = everywhere if boundary == "dirichlet" else []
            Z = ConstrainedSpace(V, DepthAxis(V.mesh), held, boundary == "periodic").injection
            self._inject, self._restrict = Multiplied(Z), Multiplied(Z.copy().transpose())
            L, M = L.ptap(Z), M.ptap(Z)
        self.L, self.M, self.mass = L, M, Multiplied(M)
        self.low = kappa**2
        if boundary == "dirichlet":
            # The first eigenvalue is above that of a box around the domain, the discrete one above both.
            widths = bounding_box(V.mesh)[1]
            self.low += sum((math.pi / width) ** 2 for width in widths if width > 0.0)

    def inject(self, v: Array) -> Array:
        """``Z v``: values of all dofs, (owned, S)."""
        return v if self._inject is None else self._inject(v)

    def restrict(self, b: Array) -> Array:
        """``Z^T b``: a load on the free dofs, (free, S)."""
        return b if self._restrict is None else self._restrict(b)

    def shifted(self, t: float) -> Factorised:
        """``(L + t M)^{-1}`` on blocks of the free dofs."""
        matrix = self.L.copy()
        if t != 0.0:
            matrix.axpy(t, self.M, structure=PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        return solver(matrix, self.prefix, self._dimension)

    def high(self) -> float:
        """Upper bound of the eigenvalues of ``L e = x M e``: the greatest Ritz value and a margin.

        Raises:
            NotConverged: The greatest eigenvalue was not found to two digits.
        """
        eps = SLEPc.EPS().create(self.L.comm)
        eps.setOperators(self.L, self.M)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_REAL)
        eps.setDimensions(1, min(20, self.L.getSize()[0]))
        eps.setTolerances(1e-2, 200)
        start = self.L.createVecRight()
        first, last = start.getOwnershipRange()
        start.array_w[...] = np.cos(12.9898 * np.arange(first, last) ** 1.5)
        eps.setInitialSpace([start])
        ksp = eps.getST().getKSP()
        ksp.setType("cg")
        ksp.getPC().setType("jacobi")
        ksp.setTolerances(rtol=1e-8)
        eps.solve()
        if not eps.getConverged():
            raise NotConverged("the greatest eigenvalue of the elliptic operator was not found")
        value = float(eps.getEigenvalue(0).real)
        eps.destroy()
        start.destroy()
        return _SLACK * value


def _everywhere(x: Array) -> NDArray[np.bool_]:
    return np.ones(x.shape[1], dtype=bool)
