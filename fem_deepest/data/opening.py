"""Open a data set by its name without reading it: what each rank reads its own part of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from fem_deepest.data import load
from fem_deepest.data.archive import open_npz
from fem_deepest.data.delimited import Sheet
from fem_deepest.data.generated import SYNTHETIC, generated
from fem_deepest.data.hdf5 import open_hdf5
from fem_deepest.data.inputs import file_bytes
from fem_deepest.data.lines import TextSamples
from fem_deepest.data.source import Memory, Source
from fem_deepest.data.table import ENDINGS, Columns, choose, existing, require_kind
from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_all

__all__ = ["data_bytes", "open_data", "open_file"]

_NUMBER = 8  # bytes


def data_bytes(
    name: str, samples: int, features: int, outputs: int, path: str | Path | None = None
) -> int:
    """Size of a data set before it is opened: of a file, or of the numbers of a synthetic set.

    Args:
        name: As for :func:`open_data`, as the others.
        samples: Number of samples.
        features: Of a teacher.
        outputs: Of a teacher.
        path: Of a file.

    Returns:
        0 for a set that comes with the package, or a file that is not there.

    Not collective.
    """
    if name == "file" and path is not None:
        return file_bytes(Path(path)) if Path(path).is_file() else 0
    if name not in SYNTHETIC:
        return 0
    return _NUMBER * samples * (features + outputs if name == "teacher" else 3)


def open_data(
    name: str,
    *,
    samples: int = 1000,
    seed: int = 0,
    noise: float | None = None,
    path: str | Path | None = None,
    target: Columns = None,
    inputs: Sequence[str | int] | None = None,
    kind: str = "classification",
    features: int = 2,
    outputs: int = 2,
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Source:
    """The data set of this name, of which each rank reads its part; arguments as for :func:`.load`.

    A toy set has other numbers than that of :func:`.load`, see :mod:`.generated`.

    Raises:
        InputError: As :func:`.load`.

    Collective on ``comm``.
    """
    if name == "file" and path is not None:
        return open_file(path, target, kind, inputs, comm)
    if name in SYNTHETIC:
        return generated(name, samples, seed, noise, features, outputs, kind)
    return Memory(on_all(lambda: load(name), comm))


def open_file(
    path: str | Path,
    target: Columns = None,
    kind: str = "classification",
    inputs: Sequence[str | int] | None = None,
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Source:
    """Open a CSV, NPZ or HDF5 file of samples; the arguments are those of :func:`.read_file`.

    Args:
        path: The file.
        target: Target columns of a CSV file, or the name of the targets in an HDF5 file.
        kind: "classification" or "regression".
        inputs: Input columns of a CSV file, or the name of the inputs in an HDF5 file.
        comm: The ranks that read.

    Raises:
        InputError: The file cannot be read as a data set.

    Collective on ``comm``.
    """

    def unable(error: OSError) -> str:
        return f"{path}: cannot be read ({error})."

    file = on_all(lambda: existing(path), comm, unable)
    require_kind(kind)
    suffix = file.suffix.lower()
    if suffix == ".npz":
        if target is not None or inputs is not None:
            raise InputError(
                f"{file}: an NPZ file has no columns to choose; leave out target and inputs."
            )
        return open_npz(file, kind, comm)
    if suffix in ENDINGS:
        return open_hdf5(file, kind, comm, inputs, target)

    def look() -> tuple[Sheet, list[int], list[int]]:
        sheet = Sheet.open(file)
        return (sheet, *choose(sheet, target, kind, inputs))

    return TextSamples(*on_all(look, comm, unable), kind, comm)
