"""One run of the verb ``flow`` on contours: noise that is cooled, then descent."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.cli.contour_figures import IMAGE, redraw
from fem_deepest.cli.contour_record import ContourRecord, lowest
from fem_deepest.cli.flow_figures import draw
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.configuration.contour import ContourConfig
from fem_deepest.contours.flow import ContourFlow
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.io.annealed import load_flow, save_flow
from fem_deepest.io.frames import write_frame
from fem_deepest.io.rundir import RunDirectory, jsonable
from fem_deepest.io.search import find
from fem_deepest.noise.keys import dof_keys
from fem_deepest.runs.contour import Contoured, ContourProblem

Array = NDArray[np.float64]


class ContourSession:
    """Active contours on one image, set up.

    Args:
        config: Configuration.
        directory: Where the run goes; the mesh is spread over its communicator.
        reporter: Told how it goes, on rank 0.

    Raises:
        InputError: What is wrong with the image, the mesh, the noise or the schedule.

    Collective on the communicator of the directory.
    """

    def __init__(self, config: ContourConfig, directory: RunDirectory, reporter: Reporter) -> None:
        self.config, self.directory, self.comm = config, directory, directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.problem = ContourProblem(config, directory.comm)
        self.interrupt, self.steps = Interrupt(), config.time.steps
        self.names = dof_keys(self.problem.energy.field.V)
        self.u = fem.Function(self.problem.energy.field.V)
        # Wall time of earlier parts; the last frame and row written.
        self.earlier, self.frame, self.row = 0.0, -1, -1
        self.record = ContourRecord(directory, self.problem, self.reporter)

    def run(self, *, resume: bool, force: bool) -> Contoured:
        """Flow from the start or the checkpoint to an end of any kind; see :func:`fem_deepest.flow`."""
        meta = (
            find(self.directory.checkpoint, self._signature(), self.comm, self.reporter.note)
            if resume
            else None
        )
        state = None
        if meta:
            state = load_flow(self.directory.checkpoint, meta, self.names, self.problem.samples)
            self.earlier, self.frame, self.row = (meta[k] for k in ("seconds", "frame", "row"))
        self.flow = self.problem.flow(state)
        self.directory.prepare(resume=resume, force=force)
        self.begun = self.saved = time.monotonic()
        self.directory.keep_rows(meta["rows"] if meta else 0)
        self._keep_image()
        self._greet(bool(meta))
        self._write("interrupted", {})
        status, end = "failed", lowest(self.flow.U, self.flow.energies)
        metrics: dict[str, float] = {}
        with self.interrupt:  # to the end: a signal must not end what writes the results
            try:
                self._record(self.flow)
                while self.flow.step < self.steps:
                    self.flow.advance()
                    self._record(self.flow)
                status, end, metrics = self._descend()
            except Interrupted:
                status = "interrupted"
                self._save()
                self.reporter.note(
                    f"Interrupted at step {self.flow.step}; the checkpoint is in "
                    f"{self.directory.path}, go on with --resume."
                )
            except NumericalFailure as error:
                self.reporter.note(f"Numerical failure: {error}; the last checkpoint is kept.")
            return self._finish(status, end, metrics)

    # Steps --------------------------------------------------------------------------------------

    def _greet(self, resumed: bool) -> None:
        V, image = self.problem.energy.field.V, self.problem.image
        count = self.problem.samples.size
        self.reporter.note(
            f"{self.config.contour.region}: image of {image.shape[0]} by {image.shape[1]} pixels, "
            f"{V.mesh.topology.cell_name()} mesh of {V.dofmap.index_map.size_global} nodes, {count} "
            f"replica{'s' if count > 1 else ''}, {self.steps} steps of {self.problem.dt:.4g}, noise "
            f"{self.config.noise.covariance}; {self.comm.size} rank{'s' if self.comm.size > 1 else ''}"
            + (f"; resuming at step {self.flow.step}" if resumed else "")
        )

    def _keep_image(self) -> None:
        """Write the image, for figures. Rank 0 writes."""
        if self.comm.rank == 0:
            from matplotlib.image import imsave

            imsave(
                self.directory.path / IMAGE, self.problem.image.grey, cmap="gray", vmin=0, vmax=1
            )

    def _signature(self) -> dict[str, Any]:
        """What a checkpoint and a configuration must agree in."""
        values = self.config.model_dump(mode="python", by_alias=True)
        values["frames"] = values.pop("output")["frames"]
        for key in ("tolerance", "descent"):
            values["time"].pop(key)
        return dict(jsonable(values))

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.begun

    def _record(self, flow: ContourFlow) -> None:
        """Keep what is due after a step. Collective."""
        step, last = flow.step, flow.step == self.steps
        if step > self.row and self.record.due(step):
            self.row = step
            self.record.step(flow, self._seconds())
        frame = step * self.config.output.frames // self.steps
        if frame > self.frame:
            self._frame(lowest(flow.U, flow.energies), step, frame)
        due = time.monotonic() - self.saved >= 60.0 * self.config.output.checkpoint_minutes
        flags = np.array([self.interrupt.asked, due and self.comm.rank == 0], dtype=np.int32)
        self.comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
        if flags[1] or last:
            self._save()
        if flags[0] and not last:
            raise Interrupted

    def _frame(self, U: Array, step: int, number: int) -> None:
        self.problem.energy.field.blocks.assign(self.u, U)
        write_frame(self.directory.fields, self.u, float(step), number)
        self.frame = number

    def _save(self) -> None:
        """Write the checkpoint. Collective."""
        self.saved = time.monotonic()
        meta = {
            "signature": self._signature(),
            "frame": self.frame,
            "row": self.row,
            "rows": self.directory.sync(),
            "seconds": self._seconds(),
        }
        save_flow(self.directory.checkpoint, self.flow.state, self.names, meta, self.comm, False)

    # End ----------------------------------------------------------------------------------------

    def _descend(self) -> tuple[str, Array, dict[str, float]]:
        """From the last and the best iterate of each replica; the lower end counts. Collective."""
        many = self.problem.samples.size
        found = self.problem.descend(np.concatenate([self.flow.U, self.flow.best.U], axis=1))
        first = found.energies[:many] <= found.energies[many:]
        U = np.where(first, found.U[:, :many], found.U[:, many:])
        energies = np.where(first, found.energies[:many], found.energies[many:])
        converged = np.where(first, found.converged[:many], found.converged[many:])
        self.energies, end = energies, lowest(U, energies)
        spent = found.evaluations[:many] + found.evaluations[many:]
        best = int(np.argmin(energies))
        last = self.steps + int(spent[best])
        row = self.record.end(self.flow, last, U, energies, self._seconds())
        self._frame(end, last, self.config.output.frames + 1)
        status = "converged" if converged[best] else "not_converged"
        evaluations = float(self.flow.evaluations.sum() + spent.sum())
        names = ("energy", "dice", "area", "length")
        return status, end, {**{k: row[k] for k in names}, "evaluations": evaluations}

    def _finish(self, status: str, U: Array, metrics: dict[str, float]) -> Contoured:
        seconds = self._write(status, metrics)
        if metrics and self.config.output.figures:
            draw(self.directory, redraw)
        told = f": energy {metrics['energy']:.6g}" if metrics else ""
        self.reporter.note(f"{status.replace('_', ' ')}{told}; {self.directory.path}")
        energies = self.energies if metrics else self.flow.energies
        self.problem.energy.field.blocks.assign(self.u, U)
        return Contoured(
            self.directory.path,
            status,
            self.config,
            self.flow.step,
            metrics,
            seconds,
            energies,
            self.u,
        )

    def _write(self, status: str, metrics: dict[str, float]) -> float:
        seconds = self._seconds()
        stage = {
            "stage": "noise",
            "steps": self.flow.step,
            "replicas": int(self.problem.samples.size),
            "best": float(self.flow.best.values.min()),
            "evaluations": float(self.flow.evaluations.sum()),
        }
        write_run(
            self.directory, "flow", status, self.config, seconds, stages=[stage], metrics=metrics
        )
        return seconds
