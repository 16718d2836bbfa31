"""The verb ``info``: versions, BLAS and its speed, MPI, PETSc packages, and what is missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import time
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.cli import ranks
from fem_deepest.noise import compiled

_OPTIONAL = {
    "slepc4py": "eigenvalues",
    "h5py": "checkpoints",
    "sklearn": "the digits and stratified splits",
    "matplotlib": "figures",
    "gmsh": "meshes from .geo sources",
    "onnx": "exported networks in ONNX files",
    "threadpoolctl": "the name of the BLAS",
}
_SLOW = 10.0  # GFlop/s below which a BLAS is taken for the reference one


def version() -> str:
    """Version of this package."""
    try:
        return importlib.metadata.version("fem_deepest")
    except importlib.metadata.PackageNotFoundError:
        from fem_deepest import __version__

        return __version__


def versions() -> dict[str, str]:
    """Versions that a result depends on. Not collective."""
    import dolfinx
    import scipy

    return {
        "fem_deepest": version(),
        "python": platform.python_version(),
        "dolfinx": dolfinx.__version__,
        "petsc": ".".join(map(str, PETSc.Sys.getVersion())),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "mpi": MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\x00 "),
    }


def blas_speed(size: int = 1000, repeats: int = 3) -> float:
    """Speed of a square matrix product in GFlop/s. Not collective."""
    a = np.random.default_rng(0).standard_normal((size, size))
    out, best = np.empty_like(a), np.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        np.matmul(a, a, out=out)
        best = min(best, time.perf_counter() - begun)
    return 2.0 * size**3 / best / 1e9


def info(comm: MPI.Intracomm = MPI.COMM_WORLD) -> dict[str, Any]:
    """What this installation is, and advice where something is missing.

    Collective on ``comm`` (the BLAS is timed on all ranks at once, as a run would use it).
    """
    speed = comm.allreduce(blas_speed(), op=MPI.MIN)
    missing = {}
    for name, use in _OPTIONAL.items():
        try:
            importlib.import_module(name)
        except ImportError:
            missing[name] = use
    packages = [
        p
        for p in ("mumps", "superlu_dist", "hypre", "hdf5", "ptscotch")
        if PETSc.Sys.hasExternalPackage(p)
    ]
    advice = [f"{name} is missing ({use}): install it" for name, use in missing.items()]
    if speed < _SLOW:
        advice.append(
            f"the BLAS does {speed:.1f} GFlop/s on one rank: install OpenBLAS (Debian: "
            "libopenblas0-pthread), or set OPENBLAS_NUM_THREADS=1 if ranks share cores"
        )
    kernel = comm.allreduce(compiled.available(), op=MPI.LAND)
    if not kernel:
        advice.append(
            "noise is drawn by NumPy, three times slower than in C: install a C compiler (cc, or CC=...)"
        )
    found = ranks.advice(comm.size)
    if found:
        advice.append(found)
    return {
        "versions": versions(),
        "ranks": comm.size,
        "host": MPI.Get_processor_name(),
        "blas": _blas_name(),
        "blas_gflops": round(speed, 1),
        "petsc_packages": packages,
        "noise_kernel": "C" if kernel else "NumPy",
        "advice": advice,
    }


def _blas_name() -> str:
    try:
        import threadpoolctl
    except ImportError:
        return "unknown (threadpoolctl is missing)"
    found = [p for p in threadpoolctl.threadpool_info() if p.get("user_api") == "blas"]
    return (
        ", ".join(
            sorted(
                {
                    f"{p['internal_api']} {p.get('version')}, {p['num_threads']} threads"
                    for p in found
                }
            )
        )
        or "unknown"
    )
