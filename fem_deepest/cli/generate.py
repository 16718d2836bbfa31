"""The verb ``generate``: a data set of any size in an HDF5 file, written by all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

from fem_deepest.data.generated import SYNTHETIC, generated
from fem_deepest.data.opening import open_file
from fem_deepest.data.store import write_hdf5
from fem_deepest.data.table import ENDINGS
from fem_deepest.errors import InputError


@dataclass(frozen=True)
class GeneratedFile:
    """What :func:`fem_deepest.generate` has written.

    Attributes:
        path: The file.
        samples: Number of samples.
        features: Number of inputs.
        outputs: Number of classes or values.
        classes: Labels of the classes, or none.
    """

    path: Path
    samples: int
    features: int
    outputs: int
    classes: tuple[str, ...] | None

    def __str__(self) -> str:
        what = "values" if self.classes is None else "classes"
        size = self.path.stat().st_size / 2**20
        return (
            f"{self.samples} samples of {self.features} inputs and {self.outputs} {what} written to "
            f"{self.path} ({size:.3g} MiB)"
        )


def generate(
    name: str,
    *,
    out: str | Path,
    samples: int = 1000,
    features: int = 2,
    outputs: int = 2,
    noise: float | None = None,
    seed: int = 0,
    kind: str = "classification",
    target: str | int | Sequence[str | int] | None = None,
    inputs: Sequence[str | int] | None = None,
    force: bool = False,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
) -> GeneratedFile:
    """Write a synthetic data set of any size, or one from another file, to HDF5.

    A smaller set is a prefix of a larger one, and the file is the same on any number of ranks. What is
    written is what a training with ``data.name = name`` learns from that reads its data in parts.

    Args:
        name: "donut", "squares", "spiral", "peaks", "swiss_roll" or "teacher"; or a CSV, NPZ or HDF5
            file, which is converted.
        out: HDF5 file; replaced as a whole or not at all.
        samples: Number of samples.
        features: Teacher: number of inputs.
        outputs: Teacher: number of classes or values.
        noise: Standard deviation of the noise; None takes that of the set.
        seed: Below 2^32.
        kind: Teacher or file: "classification" or "regression".
        target: File: the target column(s), or the data set of them.
        inputs: File: the input columns, or the data set of them.
        force: Write over an existing file.
        comm: All ranks; each makes and writes its part.

    Raises:
        InputError: A number out of range; the file exists or cannot be written; what is wrong with the
            data.

    Collective on ``comm``.
    """
    path = Path(out)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--out is {path}, expected a file that ends with {' or '.join(ENDINGS)}")
    if name in SYNTHETIC or not Path(name).suffix:
        source = generated(name, samples, seed, noise, features, outputs, kind)
    else:
        source = open_file(name, target, kind, inputs, comm)
    write_hdf5(source, path, comm, force=force)
    return GeneratedFile(path, source.samples, source.features, source.outputs, source.classes)
