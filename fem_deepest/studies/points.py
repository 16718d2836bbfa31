"""The points of a study: each computed once and kept, so that a study can be stopped and goes on.

A point is a pure function of its parameters. What it found is kept in one file, named by a hash of
the parameters and of the version of this package: a changed configuration recomputes what it changes
and nothing else, and a point that was being computed when the run ended leaves no file at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_root

Parameters = Mapping[str, Any]
Values = dict[str, NDArray[np.float64]]

_VALUE = "value "  # before the names of the values in a file


@dataclass(frozen=True)
class Point:
    """One point of a study.

    Attributes:
        parameters: All that it depends on, in plain types.
        values: What was found; a number is an array of shape ().
        seconds: Wall time of its computation.
        fresh: Whether it was computed now, not read.
    """

    parameters: Parameters
    values: Values
    seconds: float
    fresh: bool

    @property
    def converged(self) -> bool:
        """Whether the value ``converged``, if there is one, is not zero."""
        return bool(self.values.get("converged", np.array(1.0)))

    def __getitem__(self, name: str) -> float:
        """A value that is a number."""
        return float(self.values[name])


def checksum(path: str | Path) -> str:
    """What tells the contents of a file from others, wherever it lies. Not collective: every rank reads.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error}); give the path of a file") from None


class Points:
    """Points kept in a folder.

    All ranks work on each point together: the points are gone through one after the other, and
    every rank has every value.

    Args:
        folder: Where they are kept; made when the first one is.
        comm: All ranks of the study.
        version: Version of the program that computes them.
    """

    def __init__(self, folder: Path, comm: MPI.Intracomm, version: str = "") -> None:
        self.folder, self.comm, self._version = folder, comm, version

    def get(self, parameters: Parameters, compute: Callable[[], Mapping[str, ArrayLike]]) -> Point:
        """The point of these parameters, computed if it is not there. Collective.

        Args:
            parameters: All that the point depends on, in plain types.
            compute: Computes it; called on all ranks or on none, and returns the same everywhere.

        Raises:
            InputError: It cannot be written.
        """
        path = self.path(parameters)
        kept = _read(path, self._text(parameters)) if self.comm.rank == 0 else None
        kept = self.comm.bcast(kept, root=0)
        if kept is not None:
            return Point(parameters, *kept, fresh=False)
        begun = time.monotonic()
        values = {name: np.asarray(v, dtype=np.float64) for name, v in compute().items()}
        seconds = float(self.comm.bcast(time.monotonic() - begun, root=0))
        on_root(
            lambda: _write(path, self._text(parameters), values, seconds),
            self.comm,
            lambda error: f"cannot keep a point of the study in {path}: {error}; give another --out",
        )
        return Point(parameters, values, seconds, fresh=True)

    def path(self, parameters: Parameters) -> Path:
        """File of the point. Not collective."""
        return (
            self.folder / f"{hashlib.sha256(self._text(parameters).encode()).hexdigest()[:32]}.npz"
        )

    def _text(self, parameters: Parameters) -> str:
        """The parameters as text that does not depend on their order."""
        return json.dumps({"version": self._version, **parameters}, sort_keys=True)


def _read(path: Path, text: str) -> tuple[Values, float] | None:
    """Values and seconds of a file; none if it is missing, broken, or that of something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["parameters"]) != text:
                return None
            values = {n.removeprefix(_VALUE): file[n] for n in file.files if n.startswith(_VALUE)}
            return values, float(file["seconds"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, text: str, values: Values, seconds: float) -> None:
    """To a temporary name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        named: dict[str, Any] = {_VALUE + name: value for name, value in values.items()}
        np.savez(file, parameters=text, seconds=seconds, **named)
    os.replace(part, path)
