"""One run of the verb ``flow`` on an action: noise that is cooled, then descent."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.flow import FlowState
from fem_deepest.annealed.search import Found, search
from fem_deepest.cli.annealed_ends import Ends, noise_stage, write_ends
from fem_deepest.cli.annealed_figures import redraw
from fem_deepest.cli.annealed_record import Noisy, Record, heading
from fem_deepest.cli.flow_figures import draw
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.io.annealed import load_flow, save_flow
from fem_deepest.io.rundir import RunDirectory, jsonable
from fem_deepest.io.search import find
from fem_deepest.runs.annealed_exchange import exchanging
from fem_deepest.runs.annealed_flow import AnnealedFlowed
from fem_deepest.runs.annealed_problems import make_setup
from fem_deepest.runs.noise import make_ladder, make_plan

Array = NDArray[np.float64]

_MEET = 0.2  # seconds between two meetings of the ranks


class AnnealedSession:
    """Annealed flows of one action, set up.

    Args:
        config: Configuration.
        directory: Where the run goes; its ranks share the replicas, or each has some of its own.
        reporter: Told how it goes, on rank 0.

    Raises:
        InputError: A schedule does not decrease, or what the action is made of is wrong.

    Collective on the communicator of the directory.
    """

    def __init__(
        self, config: AnnealedFlowConfig, directory: RunDirectory, reporter: Reporter
    ) -> None:
        self.config, self.directory, self.comm = config, directory, directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.plan = make_plan(config)
        self.setup = make_setup(config, self.comm)
        self.many = config.replicas.number
        self.numbers = self.setup.own(self.many)
        self.interrupt = Interrupt()
        self.flow: Noisy | None = None
        self.resumed: FlowState | None = None
        self.stages: list[dict[str, Any]] = []
        self.earlier = 0.0
        # All ranks meet at the step ``meet``; they have last met at ``left``.
        self.meet = self.left = 0
        self.record = Record(directory, self.setup, self.plan, self.reporter, self._seconds)

    def run(self, *, resume: bool, force: bool) -> AnnealedFlowed:
        """Flow from the start or the checkpoint to an end of any kind; see :func:`fem_deepest.flow`."""
        meta = (
            find(self.directory.checkpoint, self._signature(), self.comm, self.reporter.note)
            if resume
            else None
        )
        first = self.setup.start(self.numbers)
        self._ready(first)
        starts: Array | FlowState = first
        if meta:
            starts = load_flow(self.directory.checkpoint, meta, self.setup.names, self.numbers)
            self.earlier, self.resumed = meta["seconds"], starts
        self.directory.prepare(resume=resume, force=force)
        self.begun = self.saved = self.met = time.monotonic()
        self.directory.keep_rows(meta["rows"] if meta else 0)
        self.reporter.note(
            heading(self.setup, self.config, self.plan)
            + (f"; resuming at step {meta['flow']['iteration']}" if meta else "")
        )
        self._write("interrupted", {})
        if not meta:
            self.record.first(self.first)
        with self.interrupt:  # to the end: a signal must not end what writes the results
            found, status = None, "failed"
            try:
                found = self._search(starts, meta)
                self.record.flush()
            except Interrupted:
                status = "interrupted"
                self._save()
                self.reporter.note(
                    f"Interrupted; the checkpoint is in {self.directory.path}, go on with --resume."
                )
            except NumericalFailure as error:
                self.reporter.note(f"Numerical failure: {error}; the last checkpoint is kept.")
            return self._finish(found, status)

    def _search(self, starts: Array | FlowState, meta: dict[str, Any] | None) -> Found:
        """Noise and descent: by columns of their own, or by replicas that exchange temperatures."""
        setup, plan, every = self.setup, self.plan, self.config.replicas.exchange
        if not every:
            land, own, down = setup.landscape, self.numbers, setup.descend
            return search(land, starts, plan, down, numbers=own, watch=self._watch)
        theta = make_ladder(self.config)
        kept = None
        if meta is not None:
            whole = load_flow(self.directory.checkpoint, meta, setup.names, np.arange(self.many))
            kept = whole, meta["exchange"]
        return exchanging(plan, theta, every, setup, kept, self._watch)

    # Steps --------------------------------------------------------------------------------------

    def _ready(self, first: Array) -> None:
        """Refuse before anything is written what the flow would refuse. Collective.

        Raises:
            InputError: There is no such noise on this action, or another number is wrong.
            NumericalFailure: The action of a start is not finite.
        """
        self.first = self.setup.gathered(self.setup.landscape.value(first))
        if not np.isfinite(self.first).all():
            raise NumericalFailure(
                f"the action of replica {int(np.argmin(np.isfinite(self.first)))} is not finite where it "
                "starts"
            )
        self.plan.flow(self.setup.landscape, first, self.numbers)

    def _signature(self) -> dict[str, Any]:
        """What a checkpoint and a configuration must agree in."""
        values = self.config.model_dump(mode="python", by_alias=True, exclude={"output", "descent"})
        for key in ("train", "anneal"):  # where they are does not matter, but what they say
            values["action"].pop(key)
        values["the file of the action"] = self.setup.source
        # Options of TS may have replaced them.
        values["flow"] |= {"step": self.plan.step, "steps": self.plan.steps}
        values["checksum of the data"] = self.setup.checksum
        return dict(jsonable(values))

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.begun

    def _watch(self, flow: Noisy) -> None:
        """Keep a step; when a while has passed, flush, and ask whether to save or to leave. Collective.

        All ranks agree on the step at which they meet next, so that those with replicas of their own
        do not wait for each other in every step.
        """
        self.flow, step = flow, flow.iteration
        last = step == self.plan.steps
        self.record.keep(flow)
        if step < self.meet and not last:
            return
        self.record.flush()
        now = time.monotonic()
        due = now - self.saved >= 60.0 * self.config.output.checkpoint_minutes
        flags = np.array([self.interrupt.asked, due and self.comm.rank == 0, now - self.met])
        self.comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
        gone = max(step - self.left, 1)
        # No farther than twice as many steps as before: the first few tell little of the pace.
        steps = min(1 + int(_MEET * gone / max(flags[2], 1e-9)), 2 * gone)
        self.meet, self.left = step + steps, step
        self.met = time.monotonic()
        if flags[0]:
            raise Interrupted
        if flags[1] or last:
            self._save()

    def _save(self) -> None:
        """Write the checkpoint, if there is anything to keep. Collective."""
        self.saved = time.monotonic()
        if self.flow is None:
            return
        meta = {
            "signature": self._signature(),
            "exchange": getattr(self.flow, "exchange", None),
            "rows": self.directory.sync(),
            "seconds": self._seconds(),
        }
        names, dealt = self.setup.names, self.setup.dealt
        save_flow(self.directory.checkpoint, self.flow.state, names, meta, self.comm, dealt)

    # End ----------------------------------------------------------------------------------------

    def _finish(self, found: Found | None, status: str) -> AnnealedFlowed:
        metrics: dict[str, float] = {"start": float(self.first.min())}
        state = self.resumed if self.flow is None else self.flow.state
        ends: Ends | None = None
        if state is not None:
            self.stages.append(noise_stage(self.setup, self.many, state))
            metrics["best"] = self.stages[-1]["best"]
        if found is not None:
            ends = Ends.of(self.setup, self.numbers, found)
            status = ends.status
            if ends.lost.any():
                self.reporter.note(
                    f"NOT CONVERGED: the noise has exploded in {int(ends.lost.sum())} of {self.many} "
                    "replicas, so their descents have only found what is near the starts; take a smaller "
                    "flow.step or temperature.start"
                )
            self.stages.append(ends.stage(self.stages[-1]["evaluations"]))
            metrics |= ends.metrics
            write_ends(self.directory, self.setup, ends, self.first, self.config.output.fields)
        seconds = self._write(status, metrics)
        if ends is not None and self.config.output.figures:
            draw(self.directory, redraw)
        told = f": action {ends.metrics['action']:.6g}" if ends is not None else ""
        self.reporter.note(f"{status.replace('_', ' ')}{told}; {self.directory.path}")
        return AnnealedFlowed(
            self.directory.path,
            status,
            self.config,
            self.stages,
            metrics,
            seconds,
            np.empty(0) if ends is None else ends.actions,
            None if ends is None else ends.lowest,
        )

    def _write(self, status: str, metrics: dict[str, float]) -> float:
        seconds = float(self.comm.bcast(self._seconds(), root=0))
        write_run(
            self.directory,
            "flow",
            status,
            self.config,
            seconds,
            stages=self.stages,
            metrics=metrics,
            problem=self.setup.title,
        )
        return seconds
