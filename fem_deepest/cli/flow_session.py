"""One run of the verb ``flow``: steps, what is kept of them, and how it ends."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.cli.flow_figures import draw, redraw
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.configuration.flow import FlowConfig
from fem_deepest.errors import Interrupted, NotConverged, NumericalFailure
from fem_deepest.io.frames import write_frame
from fem_deepest.io.rundir import RunDirectory, jsonable
from fem_deepest.io.search import find
from fem_deepest.io.state import load_state, save_state
from fem_deepest.runs.flow import Flowed, FlowProblem
from fem_deepest.spde.timestepper import TimeStepper, steps_to

COLUMNS = ("step", "time", "seconds", "mean", "norm", "energy", "min", "max")

_ROWS = 1000  # of the history, at most about
_TOLD = 5.0  # seconds between two lines


class FlowSession:
    """One path of an SPDE.

    Args:
        config: Configuration.
        directory: Where the run goes; the mesh is spread over its communicator.
        reporter: Told how it goes, on rank 0.

    Raises:
        InputError: What is wrong with the mesh, the equation or the noise.

    Collective on the communicator of the directory.
    """

    def __init__(self, config: FlowConfig, directory: RunDirectory, reporter: Reporter) -> None:
        self.config, self.directory = config, directory
        self.problem = FlowProblem(config, directory.comm)
        self.comm = directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.interrupt = Interrupt()
        self.failure: Exception | None = None
        # TS obeys these options; the grid of the path is made of them.
        options, section = PETSc.Options(), config.time
        self.dt = options.getReal("ts_dt", section.T / section.steps)
        self.T = options.getReal("ts_max_time", section.T)
        self.kept = fem.Function(self.problem.scheme.problem.V)  # at the last time of the grid
        # Wall time of earlier parts; the last frame and row written, and steps done.
        self.earlier, self.frame, self.row, self.done = 0.0, -1, -1, 0

    def run(self, *, resume: bool, force: bool) -> Flowed:
        """Step from the start or the checkpoint to an end of any kind; see :func:`fem_deepest.flow`."""
        self.steps = steps_to(self.dt, self.T)
        u, start, meta = None, 0, None
        if resume:
            meta = find(self.directory.checkpoint, self._signature(), self.comm, self.reporter.note)
        if meta:
            u = fem.Function(self.problem.scheme.problem.V)
            load_state(self.directory.checkpoint, u)
            start, self.earlier = meta["step"], meta["seconds"]
            self.frame, self.row = meta["frame"], meta["row"]
        self.stepper = TimeStepper(
            self.problem.scheme, self.dt, self.T, u=u, step=start, sample=self.config.sample
        )
        self.directory.prepare(resume=resume, force=force)
        self.begun = self.saved = self.told = time.monotonic()
        self.directory.keep_rows(meta["rows"] if meta else 0)
        V = self.problem.scheme.problem.V
        cells = V.mesh.topology.index_map(V.mesh.topology.dim).size_global
        self.reporter.note(
            f"{self.config.equation.name}: {V.mesh.topology.cell_name()} mesh of {cells} cells, "
            f"{V.dofmap.index_map.size_global} unknowns, {self.steps} steps of {self.dt:g}, "
            f"{self.problem.scheme.name}, noise {self.config.noise.covariance}; {self.comm.size} "
            f"rank{'s' if self.comm.size > 1 else ''}"
            + (f"; resuming at step {start}" if meta else "")
        )
        self._write("interrupted", {})
        self.stepper.ts.setPostStep(self._after)
        with self.interrupt:  # to the end: a signal must not end what writes the results
            return self._finish(self._solve())

    def _solve(self) -> str:
        """Step to the end; the status."""
        try:
            self._record(self.stepper.time)
            self.stepper.solve()
            if self.failure is not None:
                raise self.failure
            if self.done < self.steps:  # -ts_max_steps, or an event, ended it
                raise Interrupted
        except Interrupted:
            self._save(self.done)
            self.reporter.note(
                f"Interrupted at t = {self.stepper.time:g}; the checkpoint is in "
                f"{self.directory.path}, go on with --resume."
            )
            return "interrupted"
        except NotConverged as error:
            self._save(self.done)
            self.reporter.note(
                f"NOT CONVERGED: {error}; the last state is in {self.directory.fields}, go on with "
                "--resume and other solver options, or begin again with shorter steps."
            )
            return "not_converged"
        except NumericalFailure as error:
            self.reporter.note(f"Numerical failure: {error}; the last checkpoint is kept.")
            return "failed"
        return "converged"

    # Steps --------------------------------------------------------------------------------------

    def _signature(self) -> dict[str, Any]:
        """What a checkpoint and a configuration must agree in."""
        values = self.config.model_dump(mode="python", by_alias=True)
        values["frames"] = values.pop("output")["frames"]
        values["dt"], values["T"] = self.dt, self.T
        return dict(jsonable(values))

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.begun

    def _after(self, ts: PETSc.TS) -> None:
        # An exception that unwinds PETSc's stack can take Python with it: it is kept, TS is stopped.
        # (A reason that a monitor sets is forgotten by TSStep; one that is set here is not.)
        try:
            self._record(ts.getTime())
        except Exception as failure:
            self.failure = failure
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_USER)

    def _on_grid(self, t: float) -> bool:
        s = t / self.dt
        return abs(s - round(s)) < 1e-6

    def _record(self, t: float) -> None:
        """Keep what is due at a time of the grid; between two of them there is nothing to keep."""
        if not self._on_grid(t):
            return
        step = self.done = round(t / self.dt)
        last = step == self.steps
        u = self.stepper.u
        self.kept.x.array[:] = u.x.array
        every = -(-self.steps // _ROWS)
        if step % every == 0 or last:
            u.x.scatter_forward()
            values = self.problem.measure(u)
            if not np.isfinite(values["norm"]):
                raise NumericalFailure(
                    f"the state is not finite at step {step}; take smaller steps or an implicit scheme"
                )
            if step > self.row:
                self.row = step
                self.directory.append(
                    {"step": step, "time": t, "seconds": self._seconds(), **values}
                )
            self._tell(step, values)
        frame = step * self.config.output.frames // self.steps
        if frame > self.frame:
            u.x.scatter_forward()
            write_frame(self.directory.fields, u, t, frame)
            self.frame = frame
        due = time.monotonic() - self.saved >= 60.0 * self.config.output.checkpoint_minutes
        flags = np.array([self.interrupt.asked, due and self.comm.rank == 0], dtype=np.int32)
        self.comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
        if flags[1] or last:
            self._save(step)
        if flags[0] and not last:
            raise Interrupted

    def _tell(self, step: int, values: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self.told < _TOLD and step < self.steps:
            return
        self.told, done = now, step / self.steps
        left = (
            "" if not 0.0 < done < 1.0 else f", {self._seconds() * (1.0 / done - 1.0):.0f} s left"
        )
        shown = (name for name in ("mean", "norm", "energy") if np.isfinite(values[name]))
        told = ", ".join(f"{name} {values[name]:.6g}" for name in shown)
        self.reporter.note(f"step {step} of {self.steps}: {told}, {self._seconds():.1f} s{left}")

    def _save(self, step: int) -> None:
        """Write the checkpoint: the state at a time of the grid. Collective."""
        self.saved = time.monotonic()
        meta = {
            "signature": self._signature(),
            "step": step,
            "frame": self.frame,
            "row": self.row,
            "rows": self.directory.sync(),
            "seconds": self._seconds(),
        }
        save_state(self.directory.checkpoint, self.kept, meta)

    # End ----------------------------------------------------------------------------------------

    def _finish(self, status: str) -> Flowed:
        u, reached = self.stepper.u, self.stepper.time
        metrics = self.problem.measure(u)
        if status == "not_converged":
            write_frame(self.directory.fields, u, reached, self.frame + 1)
        seconds = self._write(status, metrics, reached)
        self.stepper.destroy()
        if status != "interrupted" and self.config.output.figures:
            draw(self.directory, redraw)
        self.reporter.note(f"{status.replace('_', ' ')} at t = {reached:g}; {self.directory.path}")
        return Flowed(
            self.directory.path, status, self.config, reached, self.done, metrics, seconds, u
        )

    def _write(self, status: str, metrics: dict[str, float], reached: float = 0.0) -> float:
        seconds = self._seconds()
        stage = {
            "cells": self.config.mesh.cells,
            "time": reached,
            "steps": self.done,
            "rejected": self.stepper.rejected,
            "seconds": seconds,
        }
        write_run(
            self.directory,
            "flow",
            status,
            self.config,
            seconds,
            stages=[stage],
            metrics={"time": reached, **metrics},
            scheme=self.problem.scheme.name,
        )
        return seconds
