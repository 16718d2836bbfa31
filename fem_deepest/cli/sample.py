"""The verb ``sample``: chains for ``exp(-A)``, their diagnostics and figures."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.cli.info import versions
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.io.inference import write_inference_data
from fem_deepest.io.rundir import RunDirectory, write_text
from fem_deepest.run import EXIT_CODES
from fem_deepest.sample.bridge import POTENTIALS, bridge, named_kernel
from fem_deepest.sample.diagnostics import summary
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.sample.run import Plan, Sample, Setting, sample
from fem_deepest.sample.transfer import middle_density
from fem_deepest.sample_config import SampleConfig, load_sampling

_OWN = ("chains.nc", "diagnostics.csv")
_LABELS = {
    "quarter": "$x(T/4)$",
    "middle": "$x(T/2)$",
    "middle_square": "$x(T/2)^2$",
    "mean_square": r"$\frac{1}{T}\int x^2\,dt$",
}


@dataclass(frozen=True)
class Sampled:
    """What :func:`fem_deepest.cli.sample.sample_posterior` returns.

    Attributes:
        directory: The run directory.
        status: "converged" (R-hat and effective sample sizes as asked for), "not_converged" or "failed".
        config: The configuration with all defaults filled in.
        diagnostics: By name of the number, see :func:`.summary`, and ``ess_per_gradient``.
        metrics: Mean acceptance, steps, worst R-hat and least effective sample size.
        seconds: Wall time.
        chains: The chains; none if it failed.
    """

    directory: Path
    status: str
    config: SampleConfig
    diagnostics: dict[str, dict[str, float]]
    metrics: dict[str, float]
    seconds: float
    chains: Sample | None = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def sample_posterior(
    config: str | Path | Mapping[str, Any] | SampleConfig,
    *,
    out: str | Path | None = None,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Sampled:
    """Sample a measure on paths and say whether the chains have converged.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
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
    setting(settled)  # refuses what cannot be, on all ranks alike
    name = Path(config).stem if isinstance(config, str | Path) else "run"
    path = Path(out or settled.output.directory or Path("runs") / name)
    directory = RunDirectory(path, comm)
    directory.prepare(resume=False, force=force, advice="")
    if comm.rank == 0:
        for stale in _OWN:
            (path / stale).unlink(missing_ok=True)
    return _Session(settled, directory, reporter or Silent()).run()


def target(config: SampleConfig) -> IntegralTarget:
    """The measure of a configuration. Not collective."""
    section = config.bridge
    return bridge(
        POTENTIALS[section.name](section.measure),
        section.cells,
        section.depth,
        (section.start, section.end),
        section.rule == "exact",
    )


def setting(config: SampleConfig) -> Setting:
    """Target, kernel and the numbers kept. Not collective."""
    measure, section, N = target(config), config.sampler, config.bridge.cells
    more: dict[str, Any] = {}
    if section.kernel in ("infinity_mala", "spde_mala"):
        more["theta"] = section.theta
    elif section.kernel == "hmc":
        more["steps"] = section.steps
    ends = 0.5 * (config.bridge.start**2 + config.bridge.end**2)

    def mean_square(v: Any) -> Any:
        x = measure.path(v)[1:-1]
        return (ends + np.sum(x**2, axis=0)) / N

    observe = {
        "quarter": lambda v: measure.path(v)[N // 4],
        "middle": lambda v: measure.path(v)[N // 2],
        "middle_square": lambda v: measure.path(v)[N // 2] ** 2,
        "mean_square": mean_square,
    }
    if config.chains.paths:
        observe["path"] = measure.path
    kernel = lambda: named_kernel(section.kernel, measure, section.step, **more)  # noqa: E731
    return Setting(measure, kernel, observe)


def redraw(directory: Path, values: dict[str, Any]) -> list[Path]:
    """Draw the figures of a run directory again; see :mod:`fem_deepest.cli.plot`.

    Raises:
        InputError: There are no chains, or they cannot be read.

    Not collective.
    """
    import h5py

    config, path = load_sampling(values["config"]), directory / "chains.nc"
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            middle = file["posterior"]["middle"][()]
    except (OSError, KeyError) as error:
        raise InputError(
            f"cannot read {path}: {error}; run it to its end before drawing it"
        ) from None
    return _draw(directory / "figures", config, middle)


class _Session:
    """One call of :func:`sample_posterior`."""

    def __init__(self, config: SampleConfig, directory: RunDirectory, reporter: Reporter) -> None:
        self.config, self.directory, self.comm = config, directory, directory.comm
        self.reporter: Reporter = reporter if self.comm.rank == 0 else Silent()
        self.begun = time.monotonic()

    def run(self) -> Sampled:
        self._write("interrupted", {}, {})
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
        try:
            chains = sample(lambda: setting(self.config), plan, self.comm, self._batch)
            table = self._diagnose(chains)
            metrics = self._metrics(chains, table)
            check = self.config.check
            good = metrics["r_hat"] <= check.r_hat and metrics["ess"] >= check.ess
            status = "converged" if good else "not_converged"
            if self.comm.rank == 0:
                self._leave(chains, table)
        except NumericalFailure as error:
            self.reporter.note(f"Numerical failure: {error}.")
        seconds = self._write(status, table, metrics)
        self._tell(status, table, metrics)
        self.comm.barrier()
        return Sampled(self.directory.path, status, self.config, table, metrics, seconds, chains)

    def _batch(self, batch: int, acceptance: float) -> None:
        self.reporter.note(f"batch {batch}: acceptance {acceptance:.3f}")

    def _diagnose(self, chains: Sample) -> dict[str, dict[str, float]]:
        table = {}
        for name in _LABELS:
            found = summary(chains.values[name])
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

    def _leave(self, chains: Sample, table: Mapping[str, Mapping[str, float]]) -> None:
        """Write the results; rank 0 alone."""
        path, shape = self.directory.path, chains.values["middle"].shape
        coordinates, dims = dict[str, Any](), dict[str, list[str]]()
        if self.config.chains.paths:
            t = np.linspace(0.0, self.config.bridge.depth, self.config.bridge.cells + 1)
            coordinates, dims = {"t": t}, {"path": ["t"]}
        stats = {
            "acceptance_rate": np.broadcast_to(chains.acceptance[:, None], shape).copy(),
            "step_size": np.broadcast_to(chains.steps[:, None], shape).copy(),
        }
        write_inference_data(
            path / "chains.nc",
            {"posterior": chains.values, "sample_stats": stats},
            coordinates,
            dims,
            {"inference_library": "fem_deepest", "kernel": self.config.sampler.kernel},
        )
        text = io.StringIO()
        rows = [{"quantity": name, **row} for name, row in table.items()]
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path / "diagnostics.csv", text.getvalue())
        if self.config.output.figures:
            _draw(self.directory.figures, self.config, chains.values["middle"])

    def _tell(
        self,
        status: str,
        table: Mapping[str, Mapping[str, float]],
        metrics: Mapping[str, float],
    ) -> None:
        for name, row in table.items():
            self.reporter.note(
                f"{name}: {row['mean']:.5f} +- {row['mcse_mean']:.5f}, R-hat {row['r_hat']:.3f}, ESS "
                f"{row['ess_bulk']:.0f} bulk, {row['ess_tail']:.0f} tail"
            )
        if status == "not_converged":
            check = self.config.check
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
        self.directory.write_json(
            {
                "verb": "sample",
                "status": status,
                "config": self.config.model_dump(mode="python", by_alias=True),
                "seed": self.config.seed,
                "ranks": self.comm.size,
                "grid": f"1x{self.comm.size}",
                "versions": versions(),
                "stages": [{"quantity": name, **row} for name, row in table.items()],
                "metrics": metrics,
                "seconds": seconds,
            }
        )
        return seconds


def _draw(folder: Path, config: SampleConfig, middle: Any) -> list[Path]:
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest.figures import save
    from fem_deepest.figures.chains import marginal, trace

    section, label = config.bridge, _LABELS["middle"]
    grid, density = middle_density(
        target(config).density, section.depth, (section.start, section.end)
    )
    which = f", {section.measure}" if section.name == "diffusion" else ""
    title = (
        f"{section.name.replace('_', ' ')}{which}, $T = {section.depth:g}$, $N = {section.cells}$"
    )
    iterations = config.chains.thin * np.arange(1, middle.shape[1] + 1)
    return [
        save(trace(middle, iterations, label, title), folder / "trace.png"),
        save(marginal(middle, grid, density, label, title), folder / "marginal.png"),
    ]
