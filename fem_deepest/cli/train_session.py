"""One run of the verb ``train``: the solve with its bookkeeping."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.action.dealt import DealtAction, whole
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Progress, Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.cli.train_noise import NoisyStart
from fem_deepest.cli.train_report import description, draw, entry, line, traffic_line
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.io.rundir import RunDirectory, jsonable
from fem_deepest.io.search import find, level_of, restore, save, signature
from fem_deepest.runs.problem import Problem, make_schedule
from fem_deepest.runs.start import begin, check_start
from fem_deepest.runs.train import Run
from fem_deepest.runs.training import Training
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Search, Stage

_BETWEEN_STAGES = 10.0  # seconds since the last checkpoint after which a stage ends with one


class TrainSession:
    """One call of :func:`fem_deepest.train`. Collective on the communicator."""

    def __init__(
        self, problem: Problem, directory: RunDirectory, comm: MPI.Intracomm, reporter: Reporter
    ) -> None:
        self.problem, self.config, self.directory = problem, problem.config, directory
        self.comm = comm
        self.training = Training(problem, comm)
        self.reporter: Reporter = reporter if comm.rank == 0 else Silent()
        self.schedule = make_schedule(self.config)
        self.nested = NestedIteration(self.training.action, self.schedule, self._step, self._stage)
        self.stages: list[dict[str, Any]] = []
        self.sent: Traffic | None = None  # by this rank, for the last gradient on sharded weights
        self.shaken = 0  # stages with noise: the first of all, if there is one
        self.earlier = 0.0
        self.interrupt = Interrupt()

    def run(self, *, resume: bool, force: bool) -> Run:
        """Solve from the start or the checkpoint to an end of any kind."""
        # Everything that can be wrong with the input is found before the directory is touched.
        self.nested.prepare()
        check_start(self.nested.action(self.schedule.levels[0]), self.config)
        self.training.check(self.schedule.levels[1:])
        noise = self._noise()
        meta = None
        if resume:
            meta = find(self.directory.checkpoint, self._signature(), self.comm, self.reporter.note)
            if noise is not None and not meta:
                self.earlier = noise.find(self._signature())
        self.directory.prepare(resume=resume, force=force)
        self.begun = self.saved = time.monotonic()
        if not meta:
            self.directory.keep_rows(noise.rows if noise is not None else 0)
        try:
            search = self._resume(meta) if meta else begin(self.nested, self.config)
        except NumericalFailure:
            self._write("failed", {}, 0)
            raise
        self.stage_begun = self._seconds()
        self._describe(search, resumed=meta is not None)
        self._write("interrupted", {}, search.evaluations + search.own[0])
        status = "interrupted"
        with self.interrupt:  # to the end: a signal must not end what writes the results
            try:
                if noise is not None and not meta:
                    self._shake(noise, search)
                stages = self.nested.run(search)
                status = "converged" if stages[-1].outcome.converged else "not_converged"
            except Interrupted:
                self.reporter.note(
                    f"Interrupted; the checkpoint is in {self.directory.path}, go on with --resume."
                )
            except NumericalFailure as error:
                status = "failed"
                self.reporter.note(f"Numerical failure: {error}. The last good iterate is kept.")
            if noise is None or self.shaken:
                self._save(search)
            return self._finish(search, status)

    # Begin --------------------------------------------------------------------------------------

    def _signature(self) -> dict[str, Any]:
        return signature(self.config, self.problem.train)

    def _resume(self, meta: dict[str, Any]) -> Search:
        action = self.nested.action(level_of(meta))
        search = restore(self.directory.checkpoint, meta, action, self.schedule.memory, self.comm)
        self.stages, self.earlier = meta["stages"], meta["seconds"]
        self.shaken = sum(stage["stage"] == "noise" for stage in self.stages)
        self.directory.keep_rows(meta["rows"])
        return search

    def _describe(self, search: Search, resumed: bool) -> None:
        finest = self.nested.action(self.schedule.levels[-1])
        self.reporter.note(description(self.training, finest))
        if resumed:
            self.reporter.note(
                f"resuming at {search.evaluations + search.own[0]} gradients, in stage "
                f"{search.stage + 1}: {search.method}, {search.level.cells} cells"
            )

    def _noise(self) -> NoisyStart | None:
        """The search with noise that comes first, if it is wanted. Collective."""
        if not self.config.search.steps:
            return None
        action = whole(self.nested.action(self.schedule.levels[0]), "a search with noise")
        return NoisyStart(
            self.config, action, self.directory, self.interrupt, self.reporter, self._seconds
        )

    def _shake(self, noise: NoisyStart, search: Search) -> None:
        """Search with noise on the coarsest mesh; the solve goes on from the best end."""
        tolerance = self.schedule.goal(search) * search.reference
        self.stages = [noise.run(search, tolerance, self._signature())]
        self.shaken, self.stage_begun = 1, self._seconds()
        self._save(search)
        noise.forget()

    # Steps --------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.begun

    def _step(self, search: Search, action: DealtAction, iterate: Iterate) -> None:
        parts, name, cells = action.parts, search.method, action.network.depth.cells
        if isinstance(action, SlabAction) and name == "lmvm":  # Newton's last evaluation is a value
            self.sent = replace(action.traffic)
        evaluations = search.evaluations + search.own[0]
        self.directory.append(
            {
                "stage": name,
                "cells": cells,
                "neurons": action.network.index.all_neurons,
                "iteration": iterate.iteration,
                "evaluations": evaluations,
                "seconds": self._seconds(),
                "action": iterate.action,
                "misfit": parts.misfit,
                "model": parts.model,
                "prior": parts.prior,
                "gradient": iterate.gradient,
                "score": parts.score,
            }
        )
        self.reporter.step(
            Progress(
                name,
                cells,
                action.network.index.all_neurons,
                evaluations,
                iterate.action,
                iterate.gradient / search.reference if search.reference else 0.0,
                self.schedule.goal(search),
                parts.score,
                action.loss.metric,
            )
        )
        due = time.monotonic() - self.saved >= 60.0 * self.config.output.checkpoint_minutes
        flags = np.array([self.interrupt.asked, due and self.comm.rank == 0], dtype=np.int32)
        self.comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
        if flags[0]:
            raise Interrupted
        if flags[1]:
            self._save(search)

    def _stage(self, search: Search, action: DealtAction, stage: Stage) -> None:
        reference = search.reference or 1.0
        seconds = self._seconds() - self.stage_begun
        found = entry(stage, action, self.config.action.R_f, reference, seconds)
        if isinstance(action, SlabAction) and self.sent is not None:
            found["chunk"] = action.chunk
            found["traffic"] = self.training.traffic(action, self.sent)
            self.sent = None
        self.stages.append(found)
        self.stage_begun = self._seconds()
        self.reporter.note(line(stage, reference, self._seconds()))
        if "traffic" in found:
            self.reporter.note(traffic_line(found["chunk"], found["traffic"]))
        # By the clock of one rank: those of the others differ, and all or none have to save.
        if self.comm.bcast(time.monotonic() - self.saved > _BETWEEN_STAGES, root=0):
            self._save(search)

    def _save(self, search: Search) -> None:
        """Write the checkpoint. Collective."""
        self.saved = time.monotonic()
        action = self.nested.action(search.level)
        meta = {
            "signature": self._signature(),
            "stages": jsonable(self.stages[: search.stage + self.shaken]),
            "rows": self.directory.sync(),
            "seconds": self._seconds(),
            "model": self.problem.model(action.network, np.empty(0)).scaling(),
        }
        numbering = Numbering.of(action)
        save(self.directory.checkpoint, search, meta, self.comm, numbering)
        if numbering is not None:
            numbering.destroy()

    # End ----------------------------------------------------------------------------------------

    def _finish(self, search: Search, status: str) -> Run:
        action = self.nested.action(search.level)
        metrics, model = self.training.results(action, search.u, search.level)
        values = self._write(status, metrics, search.evaluations + search.own[0])
        run = Run(
            self.directory.path,
            status,
            self.config,
            self.stages,
            metrics,
            values["seconds"],
            model,
        )
        if status != "interrupted":
            self._draw(run)
        self.comm.barrier()
        scores = ", ".join(f"{k.replace('_', ' ')} {v:.6g}" for k, v in metrics.items())
        self.reporter.note(f"{status.replace('_', ' ')}: {scores}; {self.directory.path}")
        return run

    def _draw(self, run: Run) -> None:
        """Figures and fields by rank 0, which reads sharded weights for it, unless they are too many."""
        layout, output = self.training.layout, self.config.output
        late = layout.sharded and layout.large
        if self.comm.rank == 0:
            draw(run, self.problem, history_alone=late)
        if late and (output.figures or output.fields):
            self.reporter.note(
                "The weights are too many for one rank to draw them now; "
                f"fem-deepest plot {run.directory} does."
            )

    def _write(self, status: str, metrics: dict[str, float], evaluations: int) -> dict[str, Any]:
        return write_run(
            self.directory,
            "train",
            status,
            self.config,
            self._seconds(),
            stages=self.stages,
            metrics=metrics,
            grid=str(self.training.grid),
            parallel={"weights": self.training.layout.weights},
            evaluations=evaluations,
        )
