"""One data set in files of all kinds, for the tests of what reads them in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data import Samples
from fem_deepest.data.deal import Deal
from fem_deepest.data.opening import open_file
from fem_deepest.data.source import Source

KINDS = ("stored.npz", "deflated.npz", "plain.h5", "chunked.h5", "table.csv")


def numbers(count: int, regression: bool = False) -> tuple[NDArray, NDArray]:
    """Inputs (K, 3), and targets: labels 7, 3, 20 in turns, or values (K, 2)."""
    x = np.random.default_rng(2).standard_normal((count, 3))
    if regression:
        return x, np.stack([x[:, 0] - x[:, 1], np.sin(x[:, 2])], axis=1)
    return x, np.array([7, 3, 20])[np.arange(count) % 3]


def write(folder: Path, kind: str, x: NDArray, y: NDArray) -> Path:
    """The file of this name with these samples."""
    path = folder / kind
    if kind == "stored.npz":
        np.savez(path, x=x, y=y)
    elif kind == "deflated.npz":
        np.savez_compressed(path, inputs=x, targets=y)
    elif kind == "table.csv":
        lines = ["a,b,c" + "".join(f",t{j}" for j in range(1 if y.ndim == 1 else y.shape[1]))]
        for row, target in zip(x, y.reshape(len(x), -1), strict=True):
            lines.append(",".join(repr(v) for v in [*row.tolist(), *target.tolist()]))
        lines.insert(3, "")  # blank lines are no rows
        path.write_text("\n".join(lines) + "\n")
    else:
        with h5py.File(path, "w", driver="sec2") as file:
            options: dict[str, Any] = {}
            if kind == "chunked.h5":
                options = {"chunks": True, "compression": "gzip"}
            file.create_dataset("inputs", data=x, **options)
            file.create_dataset("targets", data=y, **options)
    return path


def opened(path: Path, regression: bool = False, comm: MPI.Intracomm = MPI.COMM_SELF) -> Source:
    """The source of a file of :func:`write`."""
    target = ["t0", "t1"] if regression and path.suffix == ".csv" else None
    return open_file(path, target, "regression" if regression else "classification", None, comm)


def parts(
    source: Source,
    fraction: float = 0.0,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    memory: int = 2**20,
    test: bool = False,
) -> Samples:
    """A part of a source."""
    deal = Deal(source.samples, fraction, 5)
    return Samples(source, deal, test=test, comm=comm, memory=memory)
