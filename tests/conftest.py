"""What all tests share; pytest puts this folder on the path, so ``problems.py`` can be imported."""

from __future__ import annotations

import gc
import sys

import pytest


def pytest_collection_finish() -> None:
    """Exempt what the imports have made from garbage collection: ten times faster after a test."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Destroy PETSc objects on all ranks together, and keep the ranks in step.

    Destruction is collective, and Python collects garbage when it likes: without this one rank
    waits in a destructor while another is in the next test. Tests without PETSc pay nothing.
    """
    gc.collect()
    petsc = sys.modules.get("petsc4py.PETSc")
    if petsc is not None:
        petsc.garbage_cleanup()
        sys.modules["mpi4py.MPI"].COMM_WORLD.Barrier()
