"""The verb ``anneal``: precision annealing over many initial paths, to a table of action levels."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.anneal_config import AnnealConfig, load_annealing
from fem_deepest.annealed import Annealed, AnnealingProblem
from fem_deepest.cli.info import versions
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.levels import draw_levels, write_tables
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.io.batches import read_batch, write_batch
from fem_deepest.io.rundir import RunDirectory, jsonable, write_text
from fem_deepest.io.search import difference
from fem_deepest.solve.paths.annealing import Annealing, Batch, assemble, random_starts
from fem_deepest.solve.paths.levels import Level, expected_measurement, levels

_OWN = ("batches", "levels.csv", "path.csv", "parameters.csv")


def anneal(
    config: str | Path | Mapping[str, Any] | AnnealConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Annealed:
    """Anneal the precision of the model for many initial paths and tell the action levels.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the finished rungs in the run directory.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; the batches of paths are dealt out over them, and the result does not depend
            on their number.
        reporter: Told what is going on; default: nobody.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    settled = load_annealing(config, settings)
    problem = AnnealingProblem.create(settled)
    name = Path(config).stem if isinstance(config, str | Path) else "run"
    path = Path(out or settled.output.directory or Path("runs") / name)
    session = _Session(settled, problem, RunDirectory(path, comm), reporter or Silent())
    return session.run(resume=resume, force=force)


class _Session:
    """One call of :func:`anneal`."""

    def __init__(
        self,
        config: AnnealConfig,
        problem: AnnealingProblem,
        directory: RunDirectory,
        reporter: Reporter,
    ) -> None:
        self.config, self.problem, self.directory = config, problem, directory
        self.comm = directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.interrupt = Interrupt()
        self.failure = ""
        self.batches = directory.path / "batches"

    def run(self, *, resume: bool, force: bool) -> Annealed:
        self.begun = time.monotonic()
        firsts = range(0, self.config.anneal.paths, self.config.anneal.batch)
        # Starts that cannot be made are wrong input too.
        begun = [self._begin(first) for first in firsts[self.comm.rank :: self.comm.size]]
        if resume:
            self._check_signature()
            begun = self._kept(begun)
        self.directory.prepare(resume=resume, force=force)
        if self.comm.rank == 0:
            if not resume:
                self._clear()
            self.batches.mkdir(exist_ok=True)
            write_text(self.batches / "signature.json", json.dumps(self._signature()))
        self.comm.barrier()
        self._describe(sum(b.rung > 0 for b in begun))
        self._write("interrupted", [], {})
        with self.interrupt:
            for batch in begun:
                self._climb(batch)
                if self.interrupt.asked or self.failure:
                    break
        return self._finish(begun)

    def _begin(self, first: int) -> Batch:
        section = self.config.anneal
        numbers = np.arange(first, min(first + section.batch, section.paths))
        return Batch(numbers, random_starts(self.problem.newton.bounds, numbers, self.config.seed))

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
        climb = Annealing(
            self.problem.newton, self.problem.ladder, predictor=self.config.anneal.predictor
        )
        said = time.monotonic()
        label = f"paths {batch.numbers[0]}-{batch.numbers[-1]}"
        try:
            for state in climb.climb(batch):
                write_batch(self.batches, state)
                last = state.rung == self.problem.ladder.rungs
                if last or time.monotonic() - said > 5.0:
                    said = time.monotonic()
                    R_f = self.problem.ladder.precisions[state.rung - 1]
                    self.reporter.note(
                        f"{label}: R_f {R_f:.3g}, lowest action {state.record[-1][:, 0].min():.6g}, "
                        f"{said - self.begun:.1f} s"
                    )
                if self.interrupt.asked:
                    return
        except NumericalFailure as error:
            self.failure = str(error)

    # Bookkeeping --------------------------------------------------------------------------------

    def _signature(self) -> dict[str, Any]:
        """What a resumed run must share with the one before it."""
        values = self.config.model_dump(mode="python", by_alias=True)
        values.pop("output")
        series = self.problem.series
        values["checksum of the data"] = zlib.crc32(
            series.times.tobytes() + series.values.tobytes()
        )
        return dict(json.loads(json.dumps(jsonable(values))))

    def _check_signature(self) -> None:
        problem, path = None, self.batches / "signature.json"
        if self.comm.rank == 0:
            try:
                problem = difference(dict(json.loads(path.read_text())), self._signature())
            except FileNotFoundError:
                problem = f"{self.directory.path} holds no annealing run; begin it without --resume"
            except (OSError, ValueError, TypeError) as error:
                problem = f"cannot read {path} ({error}); begin again with --force"
        problem = self.comm.bcast(problem, root=0)
        if problem:
            raise InputError(problem)

    def _clear(self) -> None:
        for name in _OWN:
            place = self.directory.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def _describe(self, resumed: int) -> None:
        paths, section = self.problem.newton.paths, self.config.anneal
        defects = paths.defects
        self.reporter.note(
            f"{defects.dynamics.name}: {defects.dynamics.states} states, "
            f"parameters {', '.join(self._names()) or 'none'}; {defects.cells} cells "
            f"({defects.transcription.name}); {paths.observations.count} observations of components "
            f"{', '.join(map(str, paths.observations.components))}; {section.paths} paths of "
            f"{paths.size} unknowns, {section.rungs} precisions; {self.comm.size} "
            f"rank{'s' if self.comm.size > 1 else ''}"
        )
        if resumed:
            self.reporter.note(f"resuming; {resumed} batches of this rank are under way or done")

    # End ----------------------------------------------------------------------------------------

    def _finish(self, own: list[Batch]) -> Annealed:
        gathered = self.comm.allgather((own, self.interrupt.asked, self.failure))
        batches = [b for part, _, _ in gathered for b in part]
        batches.sort(key=lambda b: int(b.numbers[0]))
        failure = next((f for _, _, f in gathered if f), "")
        record, converged, work = assemble(batches)
        rungs = record.shape[1]
        precisions = self.problem.ladder.precisions[:rungs]
        found = levels(
            precisions,
            record[..., 0],
            record[..., 1],
            record[..., 2],
            tolerance=self.config.anneal.same,
        )
        if failure:
            status = "failed"
            self.reporter.note(f"Numerical failure: {failure}.")
        elif any(asked for _, asked, _ in gathered) and rungs < self.problem.ladder.rungs:
            status = "interrupted"
            self.reporter.note(f"Interrupted; go on with --resume in {self.directory.path}.")
        else:
            status = "converged" if converged[:, -1].all() else "not_converged"
        stages = [self._stage(beta, record, converged, work, precisions) for beta in range(rungs)]
        paths = self.problem.newton.paths
        u = np.zeros(paths.size)
        metrics: dict[str, float] = {}
        if rungs:
            best = next(v for v in found if v.beta == rungs - 1)
            u = next(
                b.u[list(b.numbers).index(best.path)] for b in batches if best.path in b.numbers
            )
            metrics = self._metrics(best, found, u)
        x, w = paths.split(u)
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
            paths.defects.nodes,
            x,
            w,
        )
        if self.comm.rank == 0 and rungs:
            write_tables(run, self.problem)
            if self.config.output.figures:
                draw_levels(run.directory, self.problem, run.record, self.config.anneal.same)
        self.comm.barrier()
        self._tell(run, converged)
        return run

    def _stage(self, beta: int, record: Any, converged: Any, work: Any, R_f: Any) -> dict[str, Any]:
        best = int(np.argmin(record[:, beta, 0]))
        names = ("iterations", "evaluations", "hessians", "factorisations")
        return {
            "stage": "anneal",
            "beta": beta,
            "cells": self.problem.newton.paths.defects.cells,
            "R_f": float(R_f[beta]),
            "action": record[best, beta, 0],
            "misfit": record[best, beta, 1],
            "model": record[best, beta, 2],
            "prior": record[best, beta, 3],
            **dict(zip(names, work[:, beta].sum(axis=0).tolist(), strict=True)),
            "paths": len(record),
            "converged": int(converged[:, beta].sum()),
        }

    def _metrics(self, best: Level, found: list[Level], u: Any) -> dict[str, float]:
        paths = self.problem.newton.paths
        expected, deviation = expected_measurement(paths.observations, paths.measurement_weight)
        metrics = {
            "action": best.action,
            "measurement": best.measurement,
            "model": best.model,
            "fraction": best.fraction,
            "levels": float(sum(v.beta == best.beta for v in found)),
            "expected_measurement": expected,
            "expected_measurement_deviation": deviation,
        }
        x, w = paths.split(u)
        if not paths.defects.varying:
            metrics |= dict(zip(self._names(), map(float, w), strict=True))
        truth = self.problem.series.truth
        if truth is not None and self.config.dynamics.refine == 1:
            metrics["rmse"] = float(np.sqrt(np.mean((x - truth) ** 2)))
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
        self.directory.write_json(values)
        return values

    def _tell(self, run: Annealed, converged: Any) -> None:
        if run.record.shape[1] == 0:
            return
        last = [v for v in run.levels if v.beta == run.record.shape[1] - 1]
        for level in last[:5]:
            self.reporter.note(
                f"level {level.level}: action {level.action:.6g}, measurement "
                f"{level.measurement:.6g}, model {level.model:.3g}, {level.count} of "
                f"{len(run.record)} paths"
            )
        missing = int((~converged).sum())
        if missing:
            self.reporter.note(f"{missing} of {converged.size} minimisations did NOT CONVERGE")
        parameters = {k: v for k, v in run.metrics.items() if k in self._names()}
        told = "".join(f", {k} = {v:.6g}" for k, v in parameters.items())
        self.reporter.note(
            f"{run.status.replace('_', ' ')}: action {run.metrics['action']:.6g}{told}; "
            f"{self.directory.path}"
        )

    def _names(self) -> tuple[str, ...]:
        return self.problem.newton.paths.defects.dynamics.parameters
