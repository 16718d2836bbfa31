"""First import of the package: starts PETSc with the options that follow ``--``.

``import dolfinx`` initialises PETSc *without* the command line, and a later ``petsc4py.init`` does
nothing, silently. So this module is imported before DOLFINx and passes on what stands behind the
first ``--`` of the command line (``fem-deepest train net.toml -- -tao_monitor``). Where PETSc runs
already (a script imported it first) the options are inserted into its data base instead.
"""

from __future__ import annotations

import ctypes
import sys

import petsc4py

_options = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
_running = "petsc4py.PETSc" in sys.modules
petsc4py.init(["fem-deepest", *_options])

from petsc4py import PETSc  # noqa: E402  (PETSc must be initialised first)

if _running and _options:
    PETSc.Options().insertString(" ".join(_options))

# PETSc fuses products with vectors that happen to lie evenly spaced in memory; then the last bit of
# an inner product depends on the allocator, and an iteration on the number of ranks.
for _key in ("vec_mdot_use_gemv", "vec_maxpy_use_gemv"):
    if not PETSc.Options().hasName(_key):
        PETSc.Options().setValue(_key, "0")
PETSc.Vec().createSeq(1).destroy()  # reads the two options, lest PETSc calls them unused

__all__ = ["PETSc", "set_initial_hessian"]


def set_initial_hessian(tao: PETSc.TAO, hessian: PETSc.Mat, inverse: PETSc.KSP) -> None:
    """Give a quasi-Newton solver of type ``bqn*`` its initial Hessian and a solver for it.

    ``TAO.setLMVMH0`` knows the types ``lmvm`` and ``blmvm`` alone, and petsc4py 3.22 wraps neither
    ``TaoGetLMVMMatrix`` nor ``MatLMVMSetJ0``; ``dlsym`` finds them among its dependencies.

    Args:
        tao: A solver of type ``bqnls``, ``bqnkls``, ``bqnktr`` or ``bqnktl`` with its solution set.
        hessian: Initial Hessian.
        inverse: Solver for it.

    Raises:
        PETSc.Error: The solver has no limited-memory matrix.

    Collective on the communicator of ``tao``.
    """
    library, matrix, pointer = ctypes.CDLL(PETSc.__file__), ctypes.c_void_p(), ctypes.c_void_p
    error = library.TaoGetLMVMMatrix(pointer(tao.handle), ctypes.byref(matrix))
    error = error or library.MatLMVMSetJ0(matrix, pointer(hessian.handle))
    error = error or library.MatLMVMSetJ0KSP(matrix, pointer(inverse.handle))
    if error:
        raise PETSc.Error(error)
