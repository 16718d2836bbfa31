"""First eigenfunctions of ``-Laplace``: sines and cosines on boxes, discrete ones on any mesh."""

from __future__ import annotations

import math

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, la
from mpi4py import MPI
from numpy.typing import NDArray
from slepc4py import SLEPc

from fem_deepest import _compat
from fem_deepest.errors import InputError, NotConverged
from fem_deepest.noise.covariance import mass_matrix, solver
from fem_deepest.noise.elliptic import ROBIN, Elliptic
from fem_deepest.spaces.box import bounding_box

Array = NDArray[np.float64]

_DEGREE = 14  # of the rule beyond that of the space: a sine over half its period to rounding
_WAVES = 1.5  # more degrees for each radian of the fastest mode in a cell
_MOST_DEGREE = {1: 400, 2: 60, 3: 30}


def on_box(V: fem.FunctionSpace, modes: int, least: int) -> tuple[Array, Array]:
    """The first sines or cosines on a box along the axes, projected onto the space.

    Args:
        V: Scalar space.
        modes: Number of functions.
        least: Least index in each direction: 1 for sines, 0 for cosines.

    Returns:
        ``lambda_j``, (modes,), and ``P_h e_j``, (owned, modes).

    Raises:
        InputError: The mesh does not fill a box, or the fastest wave cannot be integrated on it.

    Collective.
    """
    low, widths = _box(V)
    index = _indices(widths, modes, least)
    waves = math.pi * index / widths
    x, v, d = ufl.SpatialCoordinate(V.mesh), ufl.TestFunction(V), len(widths)
    k = fem.Constant(V.mesh, np.zeros(d, dtype=default_scalar_type))
    wave = v
    for i in range(d):
        wave *= ufl.cos(k[i] * (x[i] - float(low[i])) - 0.5 * math.pi * least)
    form = fem.form(wave * ufl.dx(degree=_degree(V, waves)), jit_options=_compat.JIT_OPTIONS)
    loads = np.empty((V.dofmap.index_map.size_local, modes))
    vector = la.vector(V.dofmap.index_map, 1)
    for j in range(modes):
        k.value[...] = waves[j]
        vector.array[...] = 0.0
        fem.assemble_vector(vector.array, form)
        _compat.add_ghosts(vector)
        loads[:, j] = vector.array[: len(loads)]
    loads *= np.sqrt(np.where(index == 0, 1.0, 2.0) / widths).prod(axis=1)
    return (waves**2).sum(axis=1), solver(mass_matrix(V), "mass", d).solve(loads)


def _box(V: fem.FunctionSpace) -> tuple[Array, Array]:
    """Lowest corner (d,) and widths (d,) of the box that the mesh fills."""
    domain = V.mesh
    comm, d = domain.comm, domain.topology.dim
    low, widths = bounding_box(domain)
    one = fem.form(fem.Constant(domain, 1.0) * ufl.dx, jit_options=_compat.JIT_OPTIONS)
    volume = comm.allreduce(fem.assemble_scalar(one).real)
    if domain.geometry.dim != d or not np.isclose(volume, widths.prod(), rtol=1e-10):
        raise InputError(
            f"the mesh fills {volume:.6g} of a box of {widths.prod():.6g}, but sines and cosines are "
            "eigenfunctions on intervals, rectangles and boxes along the axes; take the basis dirichlet "
            "or neumann"
        )
    return low, widths


def _indices(widths: Array, modes: int, least: int) -> NDArray[np.int64]:
    """Indices (modes, d) of the lowest eigenvalues, equal ones in the order of their indices."""
    cut = (modes + 1.0) ** (2.0 / len(widths)) * (1.0 / widths**2).max()
    while True:
        most = np.maximum(np.floor(widths * math.sqrt(cut)), least).astype(int)
        axes = [np.arange(least, m + 1) for m in most]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(widths))
        size = ((grid / widths) ** 2).sum(axis=1)
        grid, size = grid[size <= cut], size[size <= cut]
        if len(grid) >= modes:
            order = np.lexsort((*grid.T[::-1], np.round(size / size.max(), 12)))
            return grid[order[:modes]]
        cut *= 2.0


def _degree(V: fem.FunctionSpace, waves: Array) -> int:
    """Degree of a rule that integrates the fastest wave times a basis function to rounding."""
    domain, d = V.mesh, V.mesh.topology.dim
    cells = np.arange(domain.topology.index_map(d).size_local, dtype=np.int32)
    longest = domain.comm.allreduce(float(domain.h(d, cells).max(initial=0.0)), op=MPI.MAX)
    turns = float(np.linalg.norm(waves, axis=1).max()) * longest
    degree = V.ufl_element().embedded_superdegree + _DEGREE + math.ceil(_WAVES * turns)
    if degree > _MOST_DEGREE[d]:
        raise InputError(
            f"the fastest of {len(waves)} modes has {turns / math.pi:.3g} half waves in a cell of length "
            f"{longest:.3g}, too many to integrate; take fewer modes or a finer mesh"
        )
    return int(degree)


def on_mesh(V: fem.FunctionSpace, modes: int, boundary: str) -> tuple[Array, Array]:
    """The first discrete eigenfunctions on any mesh, orthonormal in L2.

    Args:
        V: Lagrange space.
        modes: Number of functions.
        boundary: "dirichlet", "neumann" or "periodic".

    Returns:
        ``lambda_j`` of these and of the next one, if there is one, and ``e_j``, (owned, modes).

    Raises:
        InputError: The space has fewer free dofs than modes.
        NotConverged: Not all of them were found.

    Collective.
    """
    elliptic = Elliptic(V, 1.0, boundary, ROBIN, "modes")  # -Laplace + 1, which is never singular
    size = elliptic.L.getSize()[0]
    if modes > size:
        raise InputError(
            f"{modes} modes were asked for, but the space has {size} free dofs; take fewer or a finer mesh"
        )
    wanted = min(modes + 1, size)
    eps = SLEPc.EPS().create(elliptic.L.comm)
    eps.setOperators(elliptic.L, elliptic.M)
    eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    eps.setDimensions(wanted, min(size, max(2 * wanted, wanted + 15)))
    eps.setTolerances(1e-12, 500)
    eps.setTarget(0.0)
    eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
    eps.getST().setType(SLEPc.ST.Type.SINVERT)
    eps.getST().setKSP(elliptic.shifted(0.0).ksp)
    start = elliptic.L.createVecRight()
    first, last = start.getOwnershipRange()
    start.array_w[...] = np.cos(12.9898 * np.arange(first, last) ** 1.5)
    eps.setInitialSpace([start])
    eps.solve()
    if eps.getConverged() < wanted:
        raise NotConverged(f"{eps.getConverged()} of {wanted} eigenfunctions were found")
    values = np.array([eps.getEigenvalue(j).real for j in range(wanted)]) - 1.0
    free = np.empty((last - first, modes))
    for j in range(modes):
        eps.getEigenvector(j, start)
        free[:, j] = start.array_r
    eps.destroy()
    start.destroy()
    return values, elliptic.inject(free)
