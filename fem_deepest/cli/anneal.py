"""The verb ``anneal``: precision annealing over many starts, to a table of action levels."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.cli.info import versions
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.levels import draw_levels, write_tables
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.errors import InputError, Interrupted, NumericalFailure
from fem_deepest.io.batches import read_batch, write_batch
from fem_deepest.io.rundir import RunDirectory, jsonable, run_path, write_text
from fem_deepest.io.search import check_signature
from fem_deepest.runs.anneal import Annealed, load_search, make_search
from fem_deepest.solve.annealing.levels import Level, levels
from fem_deepest.solve.annealing.search import PARTS, Batch, Lowest, Search, assemble

_OWN = ("batches", "levels.csv")
_TOLD = 8  # numbers in the last line of the command


def anneal(
    config: str | Path | Mapping[str, Any] | AnnealConfig | NetworkAnnealConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Annealed:
    """Anneal the precision of the model for many starts and tell the action levels.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the finished rungs in the run directory.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; the batches of starts are dealt out over them, and the result does not depend
            on their number.
        reporter: Told what is going on; default: nobody.

    Raises:
        InputError: Wrong input, and nothing has been written; or there is no room to write, and what
            is there can be resumed.

    Collective on ``comm``.
    """
    settled = load_search(config, settings)
    search = make_search(settled)
    path = run_path(config, out, settled.output.directory)
    session = _Session(settled, search, RunDirectory(path, comm), reporter or Silent())
    return session.run(resume=resume, force=force)


class _Session:
    """One call of :func:`anneal`."""

    def __init__(
        self,
        config: AnnealConfig | NetworkAnnealConfig,
        search: Search,
        directory: RunDirectory,
        reporter: Reporter,
    ) -> None:
        self.config, self.search, self.directory = config, search, directory
        self.comm = directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.interrupt = Interrupt()
        self.failure = self.unwritten = ""
        self.batches = directory.path / "batches"

    def run(self, *, resume: bool, force: bool) -> Annealed:
        self.begun = time.monotonic()
        firsts = range(0, self.search.starts, self.search.batch)
        # Starts that cannot be made are wrong input too.
        begun = [self._begin(first) for first in firsts[self.comm.rank :: self.comm.size]]
        if resume:
            missing = f"{self.directory.path} holds no annealing run; begin it without --resume"
            check_signature(self.batches / "signature.json", self._signature(), missing, self.comm)
            begun = self._kept(begun)
        self.directory.prepare(resume=resume, force=force)
        self._on_root(lambda: self._open(resume))
        self._describe(sum(b.rung > 0 for b in begun))
        self._write("interrupted", [], {})
        with self.interrupt:
            for batch in begun:
                self._climb(batch)
                if self.interrupt.asked or self.failure or self.unwritten:
                    break
        return self._finish(begun)

    def _open(self, resume: bool) -> None:
        """Make place for the batches. Rank 0 alone."""
        if not resume:
            self._clear()
        self.batches.mkdir(exist_ok=True)
        write_text(self.batches / "signature.json", json.dumps(self._signature()))

    def _on_root(self, work: Callable[[], object]) -> None:
        """Let rank 0 write; where it cannot, all ranks refuse. Collective.

        Raises:
            InputError: It cannot: the disk is full, say.
        """
        problem = None
        if self.comm.rank == 0:
            try:
                work()
            except OSError as error:
                problem = (
                    f"cannot write into {self.directory.path} ({error}); make room and go on with "
                    "--resume"
                )
        problem = self.comm.bcast(problem, root=0)
        if problem:
            raise InputError(problem)

    def _begin(self, first: int) -> Batch:
        return self.search.begin(
            np.arange(first, min(first + self.search.batch, self.search.starts))
        )

    def _kept(self, begun: list[Batch]) -> list[Batch]:
        """What is kept of the batches of this rank. Collective: all ranks refuse, or none."""
        problem = ""
        try:
            begun = [read_batch(self.batches, int(b.numbers[0])) or b for b in begun]
        except InputError as error:
            problem = str(error)
        problem = next(filter(None, self.comm.allgather(problem)), "")
        if problem:
            raise InputError(problem)
        return begun

    def _climb(self, batch: Batch) -> None:
        """Anneal one batch, writing every rung. Not collective."""
        precisions, said = self.search.precisions, time.monotonic()
        label = f"{batch.numbers[0]}-{batch.numbers[-1]}"
        try:
            for state in self.search.climb(batch, lambda: self.interrupt.asked):
                write_batch(self.batches, state)
                if state.rung == precisions.size or time.monotonic() - said > 5.0:
                    said = time.monotonic()
                    self.reporter.note(
                        f"{label}: R_f {precisions[state.rung - 1]:.3g}, lowest action "
                        f"{state.record[-1][:, 0].min():.6g}, {said - self.begun:.1f} s"
                    )
                if self.interrupt.asked:
                    return
        except Interrupted:
            pass  # the rungs that are finished have been written
        except NumericalFailure as error:
            self.failure = str(error)
        except InputError as error:
            self.unwritten = str(error)

    # Bookkeeping --------------------------------------------------------------------------------

    def _signature(self) -> dict[str, Any]:
        """What a resumed run must share with the one before it."""
        values = self.config.model_dump(mode="python", by_alias=True)
        values.pop("output")
        values["checksum of the data"] = self.search.checksum()
        return dict(json.loads(json.dumps(jsonable(values))))

    def _clear(self) -> None:
        for name in (*_OWN, *self.search.files):
            place = self.directory.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def _describe(self, resumed: int) -> None:
        ranks = f"{self.comm.size} rank{'s' if self.comm.size > 1 else ''}"
        self.reporter.note(f"{self.search.title}; {ranks}")
        if resumed:
            self.reporter.note(f"resuming; {resumed} batches of this rank are under way or done")

    # End ----------------------------------------------------------------------------------------

    def _finish(self, own: list[Batch]) -> Annealed:
        unwritten = next(filter(None, self.comm.allgather(self.unwritten)), "")
        if unwritten:
            raise InputError(unwritten)
        gathered = self.comm.allgather((own, self.interrupt.asked, self.failure))
        batches = [b for part, _, _ in gathered for b in part]
        batches.sort(key=lambda b: int(b.numbers[0]))
        failure = next((f for _, _, f in gathered if f), "")
        record, converged, work = assemble(batches)
        rungs = record.shape[1]
        precisions = self.search.precisions[:rungs]
        found = levels(
            precisions,
            record[..., 0],
            record[..., 1],
            record[..., 2],
            tolerance=self.config.anneal.same,
            floor=self.search.floor,
        )
        if failure:
            status = "failed"
            self.reporter.note(f"Numerical failure: {failure}.")
        elif any(asked for _, asked, _ in gathered) and rungs < self.search.precisions.size:
            status = "interrupted"
            self.reporter.note(f"Interrupted; go on with --resume in {self.directory.path}.")
        else:
            status = "converged" if converged[:, -1].all() else "not_converged"
        stages = [self._stage(beta, record, converged, work, precisions) for beta in range(rungs)]
        metrics: dict[str, float] = {}
        lowest: Lowest | None = None
        best = next((v for v in found if v.beta == rungs - 1), None)
        if best is not None:
            # A batch may have gone on beyond the rungs that all have finished.
            u = next(b.lowest[rungs - 1] for b in batches if best.path in b.numbers)
            lowest = self.search.present(u)
            metrics = self._metrics(best, found) | dict(lowest.metrics)
        values = self._write(status, stages, metrics)
        run = Annealed(
            self.directory.path,
            status,
            self.config,
            stages,
            metrics,
            values["seconds"],
            found,
            record,
            lowest,
        )
        if lowest is not None:
            self._on_root(lambda: self._results(run))
            self._tell(run, converged)
        return run

    def _results(self, run: Annealed) -> None:
        """Tables and figure. Rank 0 alone."""
        write_tables(run)
        if self.config.output.figures:
            draw_levels(run.directory, self.search, run.record, self.config.anneal.same)

    def _stage(self, beta: int, record: Any, converged: Any, work: Any, R_f: Any) -> dict[str, Any]:
        best = int(np.argmin(record[:, beta, 0]))
        return {
            "stage": "anneal",
            "beta": beta,
            "cells": self.search.cells,
            "R_f": float(R_f[beta]),
            **dict(zip(PARTS, record[best, beta].tolist(), strict=True)),
            **dict(zip(self.search.kinds, work[:, beta].sum(axis=0).tolist(), strict=True)),
            "paths": len(record),
            "converged": int(converged[:, beta].sum()),
        }

    def _metrics(self, best: Level, found: list[Level]) -> dict[str, float]:
        metrics = {
            "action": best.action,
            "measurement": best.measurement,
            "model": best.model,
            "fraction": best.fraction,
            "levels": float(sum(v.beta == best.beta for v in found)),
        }
        if self.search.expected is not None:
            expected, deviation = self.search.expected
            metrics["expected_measurement"] = expected
            metrics["expected_measurement_deviation"] = deviation
        return metrics

    def _write(
        self, status: str, stages: list[dict[str, Any]], metrics: dict[str, float]
    ) -> dict[str, Any]:
        values = {
            "verb": "anneal",
            "status": status,
            "config": self.config.model_dump(mode="python", by_alias=True),
            "seed": self.config.seed,
            "ranks": self.comm.size,
            "grid": f"1x{self.comm.size}",
            "versions": versions(),
            "stages": stages,
            "metrics": metrics,
            "seconds": self.comm.bcast(time.monotonic() - self.begun, root=0),
        }
        self._on_root(lambda: self.directory.write_json(values))
        return values

    def _tell(self, run: Annealed, converged: Any) -> None:
        last = [v for v in run.levels if v.beta == run.record.shape[1] - 1]
        for level in last[:5]:
            self.reporter.note(
                f"level {level.level}: action {level.action:.6g}, measurement "
                f"{level.measurement:.6g}, model {level.model:.3g}, {level.count} of "
                f"{len(run.record)} starts"
            )
        missing = int((~converged).sum())
        if missing:
            self.reporter.note(f"{missing} of {converged.size} minimisations did NOT CONVERGE")
        told = "".join(f", {k} = {v:.6g}" for k, v in list(run.lowest.metrics.items())[:_TOLD])
        self.reporter.note(
            f"{run.status.replace('_', ' ')}: action {run.metrics['action']:.6g}{told}; "
            f"{self.directory.path}"
        )
