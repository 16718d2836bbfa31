"""The verb ``study``: from a configuration to tables and figures in a run directory."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.cli.info import version
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.errors import InputError, Interrupted, NotConverged, NumericalFailure
from fem_deepest.io.rundir import RunDirectory, run_path, write_text
from fem_deepest.studies.named import STUDIES, load_study
from fem_deepest.studies.points import Point, Points
from fem_deepest.studies.run import StudyRun
from fem_deepest.studies.study import Left, Study, StudyConfig, compute

_POINTS = "points"


def study(
    config: str | Path | Mapping[str, Any] | StudyConfig,
    *,
    out: str | Path | None = None,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> StudyRun:
    """Compute the points of a study that are not there yet, and the tables of all.

    A point that the run directory has already, from an earlier run with the same values for all it
    depends on, is not computed again: an interrupted study goes on by the same call.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        force: Forget the points that are there, and write over whatever the directory holds.
        settings: Overrides ``section.key=value``.
        comm: All ranks; they work on each point together.
        reporter: Told of every point; default: nobody.

    Returns:
        The run with its table.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    asked = load_study(config, settings)
    path = run_path(config, out, asked.config.output.directory)
    directory = RunDirectory(path, comm)
    _prepare(directory, force=force)
    return _Session(asked, directory, reporter or Silent()).run()


def redraw(directory: RunDirectory) -> list[Path]:
    """Draw the figure of a study again from its table. Not collective.

    Raises:
        InputError: The study has no table yet, or it cannot be read.
    """
    section = directory.read_json()["config"]
    study = STUDIES[section["study"]["name"]]
    try:
        tables = {
            name: study.read(name, (directory.path / f"{name}.csv").read_text())
            for name in study.tables_left
        }
    except OSError as error:
        raise InputError(
            f"cannot read the table of the study: {error}; run it to its end first"
        ) from None
    return _draw(directory.figures, study, tables, section["check"]["last"])


def _draw(folder: Path, study: type[Study], tables: Mapping[str, Left], last: int) -> list[Path]:
    from fem_deepest.figures import save  # Matplotlib; see Study.figures

    return [save(f, folder / f"{name}.png") for name, f in study.figures(tables, last).items()]


def _prepare(directory: RunDirectory, *, force: bool) -> None:
    """Make the directory, or refuse one that another verb uses. Collective."""
    ours = False
    if directory.comm.rank == 0:
        try:
            ours = directory.read_json().get("verb") == "study"
        except InputError:
            ours = False
    ours = directory.comm.bcast(ours, root=0)
    directory.prepare(resume=ours and not force, force=force, advice="")
    if directory.comm.rank == 0:
        if force:
            shutil.rmtree(directory.path / _POINTS, ignore_errors=True)
        # The results of an earlier run do not outlive the configuration that they belong to.
        for study in STUDIES.values():
            for name in study.tables_left:
                (directory.path / f"{name}.csv").unlink(missing_ok=True)
                (directory.path / f"{name}.md").unlink(missing_ok=True)
            for name in study.figures_left:
                (directory.figures / f"{name}.png").unlink(missing_ok=True)
    directory.comm.barrier()


class _Session:
    """One call of :func:`study`."""

    def __init__(self, asked: Study, directory: RunDirectory, reporter: Reporter) -> None:
        self.study, self.directory, self.comm = asked, directory, directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.begun = time.monotonic()
        self.stages: list[dict[str, Any]] = []
        self.count = len(asked.points())
        self.interrupt = Interrupt()

    def run(self) -> StudyRun:
        self._write("interrupted", [], {})
        store = Points(self.directory.path / _POINTS, self.comm, version())
        status, tables, failures = "interrupted", dict[str, Left](), list[str]()
        try:
            with self.interrupt:
                points = compute(self.study, store, self._point)
            name = self.study.tables_left[0]
            tables = {name: self.study.table(points), **self.study.further(points)}
            failures = self._failures(tables)
            status = "not_converged" if failures else "converged"
        except Interrupted:
            self.reporter.note(
                f"Interrupted; {len(self.stages)} of {self.count} points are in "
                f"{self.directory.path}, go on with the same command."
            )
        except NumericalFailure as error:
            status, failures = "failed", [str(error)]
            self.reporter.note(f"Numerical failure: {error}. The points before it are kept.")
        except NotConverged as error:
            status, failures = "not_converged", [str(error)]
        table = next(iter(tables.values()), None)
        metrics = {} if table is None else table.metrics(self.study.config.check.last)
        if table is not None:
            for line in self.study.told(tables):
                self.reporter.note(line)
            self._leave(tables)
        seconds = self._write(status, failures, metrics)
        for failure in failures if status == "not_converged" else []:
            self.reporter.note(f"NOT AS EXPECTED: {failure}")
        self.reporter.note(f"{status.replace('_', ' ')}; {self.directory.path}")
        self.comm.barrier()
        return StudyRun(
            self.directory.path,
            status,
            self.study.config,
            table,
            tables,
            self.stages,
            failures,
            metrics,
            seconds,
        )

    def _point(self, point: Point) -> None:
        label = self.study.label(point.parameters)
        self.stages.append(
            {
                "point": label,
                "computed": point.fresh,
                "converged": point.converged,
                "seconds": point.seconds,
            }
        )
        verdict = "" if point.converged else "  NOT CONVERGED"
        how = f"{point.seconds:.2f} s" if point.fresh else "there already"
        self.reporter.note(f"{len(self.stages)}/{self.count}  {label}: {how}{verdict}")
        asked = np.array([self.interrupt.asked], dtype=np.int32)
        self.comm.Allreduce(MPI.IN_PLACE, asked, op=MPI.MAX)
        if asked[0] and len(self.stages) < self.count:
            raise Interrupted

    def _failures(self, tables: Mapping[str, Left]) -> list[str]:
        open_points = [s["point"] for s in self.stages if not s["converged"]]
        return [
            *(f"{label}: the solver stopped before its tolerance" for label in open_points),
            *self.study.failures(tables),
        ]

    def _leave(self, tables: Mapping[str, Left]) -> None:
        """Write the results; rank 0 alone, nothing in here is collective."""
        if self.comm.rank > 0:
            return
        last = self.study.config.check.last
        for name, table in tables.items():
            write_text(self.directory.path / f"{name}.csv", table.to_csv())
            write_text(self.directory.path / f"{name}.md", table.to_markdown(last))
        if self.study.config.output.figures:
            _draw(self.directory.figures, type(self.study), tables, last)

    def _write(self, status: str, failures: list[str], metrics: dict[str, float]) -> float:
        seconds = time.monotonic() - self.begun
        write_run(
            self.directory,
            "study",
            status,
            self.study.config,
            seconds,
            stages=self.stages,
            metrics=metrics,
            failures=failures,
        )
        return seconds
