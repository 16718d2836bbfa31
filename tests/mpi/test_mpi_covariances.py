"""Coloured noise is the same field on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from covariances import interval, rectangle
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.rescaled import Rescaled
from fem_deepest.noise.tensor import TensorCovariance
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener

Array = NDArray[np.float64]

WORLD = MPI.COMM_WORLD
QUADS = mesh.CellType.quadrilateral


def _gaussian(x: Array, y: Array) -> Array:
    return np.exp(-((x[:, None] - y[None]) ** 2).sum(axis=-1) / 0.1)


COVARIANCES: dict[str, Callable[[Any], Covariance]] = {
    "white": lambda comm: WhiteCovariance(rectangle(5, 4, comm=comm)),
    "matern-2": lambda comm: WhittleMatern.with_law(
        rectangle(6, 5, comm=comm), sigma=1.0, length=0.4, boundary="robin"
    ),
    "matern-1-periodic": lambda comm: WhittleMatern(
        interval(20, comm=comm), kappa=3.0, alpha=1.0, boundary="periodic"
    ),
    "matern-1.5-dirichlet": lambda comm: WhittleMatern(
        rectangle(5, 4, comm=comm), kappa=3.0, alpha=1.5, boundary="dirichlet"
    ),
    "rescaled": lambda comm: Rescaled(WhittleMatern(rectangle(5, 4, comm=comm), kappa=3.0), 2.0),
    "sine": lambda comm: KarhunenLoeve(rectangle(5, 6, comm=comm), PowerLaw(1.0), 7),
    "periodic": lambda comm: KarhunenLoeve(
        interval(20, comm=comm), PowerLaw(1.0, shift=1.0), 5, basis="periodic"
    ),
    "kernel": lambda comm: KernelCovariance(rectangle(6, 5, comm=comm), _gaussian),
    "tensor": lambda comm: TensorCovariance(
        rectangle(6, 5, comm=comm, cell=QUADS),
        [WhittleMatern(interval(6), kappa=3.0, alpha=1.0), WhiteCovariance(interval(5))],
    ),
}


def _by_place(covariance: Covariance, block: Array) -> Array:
    """Rows of all ranks in the order of their points."""
    comm = covariance.V.mesh.comm
    x = covariance.V.tabulate_dof_coordinates()[: covariance.blocks.owned]
    x, block = (np.concatenate(comm.allgather(part)) for part in (x, block))
    return block[np.lexsort(np.round(x, 9).T)]


@pytest.mark.parametrize("name", COVARIANCES)
def test_fields_loads_and_traces(name: str) -> None:
    results = []
    for comm in (WORLD, MPI.COMM_SELF):
        covariance = COVARIANCES[name](comm)
        wiener = QWiener(covariance, WhiteNoise(covariance.V, 5), substeps=2)
        increment = wiener.increment(3, 0.2, (0, 4))
        results.append(
            [
                _by_place(covariance, increment.field),
                _by_place(covariance, increment.load),
                _by_place(covariance, covariance.apply(increment.load[:, :1])),
                _by_place(covariance, covariance.variance()[:, None]),
                np.array([wiener.trace(), wiener.beta()]),
            ]
        )
    for mine, alone in zip(*results, strict=True):
        np.testing.assert_allclose(mine, alone, rtol=0, atol=2e-12 * np.abs(alone).max())
        assert np.abs(alone).max() > 0.0


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_iterative_solves_are_those_of_a_factorisation(alpha: float) -> None:
    from fem_deepest._petsc import PETSc

    options = {"ksp_type": "cg", "ksp_rtol": 1e-13, "pc_type": "jacobi"}
    for key, value in options.items():
        PETSc.Options().setValue(f"iterative_{key}", value)
    V = rectangle(6, 5, comm=WORLD)
    fields = []
    for prefix in ("matern", "iterative"):
        covariance = WhittleMatern(V, kappa=3.0, alpha=alpha, prefix=prefix)
        fields.append(covariance.sample(WhiteNoise(V, 5), samples=(0, 1)))
    np.testing.assert_allclose(*fields, rtol=0, atol=1e-11)


def test_refusals_come_on_all_ranks() -> None:
    V = rectangle(6, 5, comm=WORLD)
    with pytest.raises(InputError, match="not symmetric"):
        KernelCovariance(V, lambda x, y: _gaussian(x, y) * (1.0 + x[:, :1]))
    WORLD.Barrier()
    with pytest.raises(InputError, match="not positive semidefinite"):
        KernelCovariance(V, lambda x, y: (_gaussian(x, y) > 0.5).astype(float))
    WORLD.Barrier()
    with pytest.raises(InputError, match="cannot be rescaled"):
        Rescaled(WhittleMatern(V, kappa=1.0, boundary="dirichlet"), 1.0)
    WORLD.Barrier()
    with pytest.raises(InputError, match="do not lie on the grid"):
        TensorCovariance(V, [WhiteCovariance(interval(6)), WhiteCovariance(interval(6))])
    WORLD.Barrier()
