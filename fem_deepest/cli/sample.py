"""The verb ``sample``: chains for ``exp(-A)``, their diagnostics and figures."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.cli.chains import BATCHES, CHAINS, DIAGNOSTICS, draw_chains, write_chains
from fem_deepest.cli.flow_figures import draw
from fem_deepest.cli.interrupt import SharedInterrupt
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.record import write_run
from fem_deepest.configuration.sample import PosteriorConfig, SampleConfig, load_sampling
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.io.chains import ChainFiles, check_chains
from fem_deepest.io.rundir import RunDirectory, jsonable, run_path, write_text
from fem_deepest.io.search import check_signature
from fem_deepest.runs.sample import Sampled, make_sampling
from fem_deepest.runs.sampling import Sampling
from fem_deepest.sample.diagnostics import summary
from fem_deepest.sample.run import Plan, Sample, sample

_OWN = (CHAINS, DIAGNOSTICS, "predictive.csv")
_CHAINS = ("acceptance", "least_acceptance", "step", "r_hat", "ess")
_TOLD = 12  # numbers that the command prints of the diagnostics, and of the metrics


def sample_posterior(
    config: str | Path | Mapping[str, Any] | SampleConfig | PosteriorConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Sampled:
    """Sample a bridge, or the posterior of a network or a path, and say whether the chains have converged.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on with the chains in the run directory, on the same noise; ``chains.draws`` may be
            larger now.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; batches of chains are dealt out over them, and the result does not depend on
            their number.
        reporter: Told what is going on; default: nobody.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    settled = load_sampling(config, settings)
    sampling = make_sampling(settled)  # refuses what cannot be, on all ranks alike
    path = run_path(config, out, settled.output.directory)
    directory = RunDirectory(path, comm)
    signature = _signature(settled) | sampling.signature()
    if resume:
        missing = f"{path} holds no chains; begin without --resume"
        check_signature(path / BATCHES / "signature.json", signature, missing, comm)
        told = check_chains(path / BATCHES, settled.chains.draws * settled.chains.thin, comm)
        if reporter is not None and comm.rank == 0:
            for sentence in told:
                reporter.note(sentence)
    directory.prepare(resume=resume, force=force)
    if comm.rank == 0:
        for stale in _OWN:
            (path / stale).unlink(missing_ok=True)
        if not resume:
            shutil.rmtree(path / BATCHES, ignore_errors=True)
        (path / BATCHES).mkdir(exist_ok=True)
        write_text(path / BATCHES / "signature.json", json.dumps(signature))
    comm.barrier()
    return _Session(settled, sampling, directory, reporter or Silent()).run()


def _signature(config: SampleConfig | PosteriorConfig) -> dict[str, Any]:
    """What a resumed run must share with the one before it."""
    values = config.model_dump(mode="python", by_alias=True, exclude={"output", "check"})
    values["chains"].pop("draws")
    for key in ("train", "anneal", "run", "settings", "fresh"):
        # Where these are does not matter, but what they say, which the sampling knows.
        values.get("posterior", {}).pop(key, None)
    return dict(json.loads(json.dumps(jsonable(values))))


class _Session:
    """One call of :func:`sample_posterior`."""

    def __init__(
        self,
        config: SampleConfig | PosteriorConfig,
        sampling: Sampling,
        directory: RunDirectory,
        reporter: Reporter,
    ) -> None:
        self.config, self.sampling = config, sampling
        self.directory, self.comm = directory, directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.begun, self.interrupt = time.monotonic(), SharedInterrupt(self.comm)

    def run(self) -> Sampled:
        self._write("interrupted", {}, {})
        with self.interrupt:  # to the end: a signal must not end what writes the results
            return self._run()

    def _run(self) -> Sampled:
        section, sampler = self.config.chains, self.config.sampler
        plan = Plan(
            chains=section.chains,
            batch=section.batch,
            relax=section.relax,
            warmup=section.warmup,
            draws=section.draws * section.thin,
            thin=section.thin,
            acceptance=sampler.acceptance,
            seed=self.config.seed,
        )
        chains, table, metrics, status = None, dict[str, dict[str, float]](), {}, "failed"
        path, sampling = self.directory.path, self.sampling
        self.reporter.note(sampling.title)
        try:
            minutes = self.config.output.checkpoint_minutes
            files = ChainFiles(path / BATCHES, lambda: self.interrupt.asked, minutes)
            told = sampling.prepare(path / BATCHES, self.comm, lambda: self.interrupt.asked)
            if told:
                self.reporter.note(told)
            chains = sample(lambda: sampling.setting, plan, self.comm, self._batch, files)
            table = self._diagnose(chains)
            found, tables = sampling.findings(chains.values)
            metrics = self._metrics(chains, table) | found
            good = sampling.solved and self._mixed(metrics)
            status = "converged" if good else "not_converged"
            kernel, kept = sampler.kernel, chains
            self.directory.on_root(
                lambda: write_chains(path, sampling, kernel, kept, table, tables)
            )
        except Interrupted:
            status = "interrupted"
            self.reporter.note(f"Interrupted; go on with --resume --out {self.directory.path}")
        except NumericalFailure as error:
            self.reporter.note(f"Numerical failure: {error}.")
        self.interrupt.meet()
        seconds = self._write(status, table, metrics)
        if chains is not None and self.config.output.figures:
            values = chains.values
            draw(self.directory, lambda at: draw_chains(at.figures, sampling, values, section.thin))
        self._tell(status, table, metrics)
        self.comm.barrier()
        return Sampled(self.directory.path, status, self.config, table, metrics, seconds, chains)

    def _batch(self, batch: int, acceptance: float) -> None:
        self.reporter.note(f"batch {batch}: acceptance {acceptance:.3f}")

    def _diagnose(self, chains: Sample) -> dict[str, dict[str, float]]:
        table = {}
        for name, draws in self.sampling.numbers(chains.values).items():
            found = summary(draws)
            work = chains.gradients * self.config.chains.chains
            found["ess_per_gradient"] = found["ess_bulk"] / work if work else float("nan")
            table[name] = found
        return table

    def _metrics(
        self, chains: Sample, table: Mapping[str, Mapping[str, float]]
    ) -> dict[str, float]:
        return {
            "acceptance": float(chains.acceptance.mean()),
            "least_acceptance": float(chains.acceptance.min()),
            "step": float(chains.steps.mean()),
            "r_hat": max(row["r_hat"] for row in table.values()),
            "ess": min(min(row["ess_bulk"], row["ess_tail"]) for row in table.values()),
            **{name: row["mean"] for name, row in table.items()},
        }

    def _mixed(self, metrics: Mapping[str, float]) -> bool:
        check = self.config.check
        return metrics["r_hat"] <= check.r_hat and metrics["ess"] >= check.ess

    def _tell(
        self,
        status: str,
        table: Mapping[str, Mapping[str, float]],
        metrics: Mapping[str, float],
    ) -> None:
        for name, row in list(table.items())[:_TOLD]:
            self.reporter.note(
                f"{name}: {row['mean']:.5f} +- {row['mcse_mean']:.5f}, R-hat {row['r_hat']:.3f}, ESS "
                f"{row['ess_bulk']:.0f} bulk, {row['ess_tail']:.0f} tail"
            )
        told = [name for name in metrics if name not in table and name not in _CHAINS]
        if told:
            self.reporter.note(", ".join(f"{name} {metrics[name]:.4g}" for name in told[:_TOLD]))
        check = self.config.check
        if status == "not_converged" and not self.sampling.solved:
            self.reporter.note(
                "NOT CONVERGED: the solver has stopped before its tolerance, so that the start of the "
                "chains and the point estimate are no minimum; give it more iterations"
            )
        if status == "not_converged" and not self._mixed(metrics):
            self.reporter.note(
                f"NOT CONVERGED: R-hat {metrics['r_hat']:.3f} (at most {check.r_hat}), ESS "
                f"{metrics['ess']:.0f} (at least {check.ess:.0f}); take more draws"
            )
        self.reporter.note(f"{status.replace('_', ' ')}; {self.directory.path}")

    def _write(
        self,
        status: str,
        table: Mapping[str, Mapping[str, float]],
        metrics: Mapping[str, float],
    ) -> float:
        seconds = float(self.comm.bcast(time.monotonic() - self.begun, root=0))
        stages = [{"quantity": name, **row} for name, row in table.items()]
        write_run(
            self.directory, "sample", status, self.config, seconds, stages=stages, metrics=metrics
        )
        return seconds
