"""The run directory: ``run.json``, ``history.csv`` and the places of the rest."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.io.succession import forget
from fem_deepest.spaces.tasks import on_root

COLUMNS = (
    "stage",
    "cells",
    "neurons",
    "iteration",
    "evaluations",
    "seconds",
    "action",
    "misfit",
    "model",
    "prior",
    "gradient",
    "score",
)

_RESUME = "--resume to go on with its run, "


def run_path(config: object, out: str | Path | None, configured: str | None) -> Path:
    """Where a run goes: ``out``, else what its configuration says, else ``runs/NAME`` of the file.

    Args:
        config: TOML file, or what else the run was started with; then ``NAME`` is ``run``.
        out: What the caller asks for.
        configured: ``output.directory``.
    """
    name = Path(config).stem if isinstance(config, str | Path) else "run"
    return Path(out or configured or Path("runs") / name)


class RunDirectory:
    """A directory that one run owns; rank 0 writes.

    Args:
        path: Directory.
        comm: All ranks of the run.
        columns: Those of the history.

    Attributes:
        checkpoint: Path of ``checkpoint.h5``.
        figures: Path of ``figures/``.
        fields: Path of ``fields/``.
    """

    def __init__(self, path: Path, comm: MPI.Intracomm, columns: Sequence[str] = COLUMNS) -> None:
        self.path, self.comm, self._columns = path, comm, columns
        self.checkpoint = path / "checkpoint.h5"
        self.figures = path / "figures"
        self.fields = path / "fields"
        self._history = path / "history.csv"
        self.rows = 0

    def prepare(self, *, resume: bool, force: bool, advice: str = _RESUME) -> None:
        """Make the directory, or refuse one in use. Collective.

        Args:
            resume: Go on with what it holds.
            force: Write over what it holds.
            advice: What else can be done about a directory in use.

        Raises:
            InputError: It is not empty and neither ``resume`` nor ``force`` is given, or it cannot
                be made. Nothing is written over.
        """

        def open_it() -> None:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()) and not (resume or force):
                raise InputError(
                    f"the directory {self.path} is not empty; give {advice}--force to write over it, "
                    "or another --out"
                )
            if not os.access(self.path, os.W_OK):
                raise InputError(
                    f"may not write into the directory {self.path}; give another --out"
                )
            if force and not resume:
                forget(self.checkpoint)
                for stale in (self._history, self.path / "run.json"):
                    stale.unlink(missing_ok=True)
                for folder in (self.figures, self.fields):
                    shutil.rmtree(folder, ignore_errors=True)
            for stale in self.path.glob("*.h5.part"):  # of a run that was killed
                stale.unlink(missing_ok=True)

        on_root(
            open_it,
            self.comm,
            lambda error: (f"cannot use {self.path} as run directory: {error}; give another --out"),
        )

    def keep_rows(self, rows: int) -> None:
        """Keep the first rows of the history: those a checkpoint knows of. Rank 0 writes."""
        self.rows = rows
        if self.comm.rank == 0 and self._history.exists():
            lines = self._history.read_text().splitlines(keepends=True)[: rows + 1]
            write_text(self._history, "".join(lines))

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line to the history at once. Rank 0 writes."""
        self.rows += 1
        if self.comm.rank == 0:
            new = not self._history.exists()
            with self._history.open("a", newline="") as file:
                writer = csv.DictWriter(file, self._columns, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow({k: _plain(row[k]) for k in self._columns})

    def sync(self) -> int:
        """Bring the history to the disk, before a checkpoint that tells of its rows; their number.

        Rank 0 writes.
        """
        if self.comm.rank == 0 and self._history.exists():
            with self._history.open("rb") as file:
                os.fsync(file.fileno())
        return self.rows

    def history(self) -> dict[str, NDArray]:
        """Columns of the history. Not collective."""
        with self._history.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            name: np.array([row[name] if name == "stage" else float(row[name]) for row in rows])
            for name in self._columns
        }

    def write_json(self, values: Mapping[str, Any]) -> None:
        """Write ``run.json`` as a whole. Collective; rank 0 writes.

        Raises:
            InputError: It cannot be written: the disk is full, say.
        """
        text = json.dumps(jsonable(values), indent=2, allow_nan=False)
        self.on_root(lambda: write_text(self.path / "run.json", text))

    def on_root(self, work: Callable[[], object]) -> None:
        """Let rank 0 write; where it cannot, all ranks refuse. Collective.

        Raises:
            InputError: It cannot: the disk is full, say.
        """
        on_root(
            work,
            self.comm,
            lambda error: (
                f"cannot write into {self.path} ({error}); make room and go on with --resume"
            ),
        )

    def read_json(self) -> dict[str, Any]:
        """Contents of ``run.json``.

        Raises:
            InputError: There is none, or it is not JSON.
        """
        path = self.path / "run.json"
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            raise InputError(
                f"{self.path} holds no run (no run.json); give the directory of a run"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {path}: {error}") from None


def jsonable(value: Any) -> Any:
    """The value in plain Python types; infinite and undefined numbers become null."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [jsonable(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    return f"{value:.17g}" if isinstance(value, float) else value


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole: to a temporary name, then renamed. Not collective."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
