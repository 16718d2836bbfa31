"""One run of the verb ``anneal``: batches of starts up the ladder, and what is left behind."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import numpy as np

from fem_deepest.cli.anneal_report import entry, summary, tell
from fem_deepest.cli.interrupt import SharedInterrupt
from fem_deepest.cli.levels import draw_levels, write_tables
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.errors import InputError, Interrupted, NumericalFailure
from fem_deepest.io.batches import read_batch, settle_batch, write_batch
from fem_deepest.io.rundir import RunDirectory, jsonable, write_text
from fem_deepest.io.search import check_signature
from fem_deepest.runs.anneal import Annealed
from fem_deepest.solve.annealing.levels import levels
from fem_deepest.solve.annealing.search import Batch, Lowest, Search, assemble

_OWN = ("batches", "levels.csv")


class AnnealSession:
    """One call of :func:`fem_deepest.anneal`. Collective on the communicator of the directory."""

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
        self.interrupt = SharedInterrupt(self.comm)
        self.failure = self.unwritten = ""
        self.batches = directory.path / "batches"

    def run(self, *, resume: bool, force: bool) -> Annealed:
        """Anneal from the starts or the finished rungs to an end of any kind."""
        self.begun = time.monotonic()
        firsts = range(0, self.search.starts, self.search.batch)
        # Starts that cannot be made are wrong input too.
        begun = [self._begin(first) for first in firsts[self.comm.rank :: self.comm.size]]
        if resume:
            missing = f"{self.directory.path} holds no annealing run; begin it without --resume"
            check_signature(self.batches / "signature.json", self._signature(), missing, self.comm)
            begun = self._kept(begun)
        self.directory.prepare(resume=resume, force=force)
        self.directory.on_root(lambda: self._open(resume))
        self._describe(sum(b.rung > 0 for b in begun))
        self._write("interrupted", [], {})
        with self.interrupt:
            for batch in begun:
                self._climb(batch)
                if self.interrupt.asked or self.failure or self.unwritten:
                    break
            self.interrupt.meet()
            return self._finish(begun)

    def _open(self, resume: bool) -> None:
        """Make place for the batches. Rank 0 alone."""
        if not resume:
            self._clear()
        self.batches.mkdir(exist_ok=True)
        write_text(self.batches / "signature.json", json.dumps(self._signature()))

    def _begin(self, first: int) -> Batch:
        return self.search.begin(
            np.arange(first, min(first + self.search.batch, self.search.starts))
        )

    def _kept(self, begun: list[Batch]) -> list[Batch]:
        """What is kept of the batches of this rank. Collective: all ranks refuse, or none."""
        problem, told = "", list[str]()
        try:
            for k, first in enumerate(int(b.numbers[0]) for b in begun):
                told.append(settle_batch(self.batches, first))
                begun[k] = read_batch(self.batches, first) or begun[k]
        except InputError as error:
            problem = str(error)
        found = self.comm.allgather((problem, told))
        problem = next((refused for refused, _ in found if refused), "")
        if problem:
            raise InputError(problem)
        for sentence in (s for _, told in found for s in told if s):
            self.reporter.note(sentence)
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
        stages = [
            entry(self.search, beta, record, converged, work, precisions) for beta in range(rungs)
        ]
        metrics: dict[str, float] = {}
        lowest: Lowest | None = None
        best = next((v for v in found if v.beta == rungs - 1), None)
        if best is not None:
            # A batch may have gone on beyond the rungs that all have finished.
            u = next(b.lowest[rungs - 1] for b in batches if best.path in b.numbers)
            lowest = self.search.present(u)
            metrics = summary(self.search, best, found) | dict(lowest.metrics)
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
            self.directory.on_root(lambda: self._results(run))
            tell(self.reporter, run, converged)
        return run

    def _results(self, run: Annealed) -> None:
        """Tables and figure. Rank 0 alone."""
        write_tables(run)
        if self.config.output.figures:
            draw_levels(run.directory, self.search, run.record, self.config.anneal.same)

    def _write(
        self, status: str, stages: list[dict[str, Any]], metrics: dict[str, float]
    ) -> dict[str, Any]:
        seconds = float(self.comm.bcast(time.monotonic() - self.begun, root=0))
        return write_run(
            self.directory, "anneal", status, self.config, seconds, stages=stages, metrics=metrics
        )
