"""The verb ``train``: from a configuration to a trained network in a run directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.cli.train_session import TrainSession
from fem_deepest.configuration.train import Config, load
from fem_deepest.io.rundir import RunDirectory, run_path
from fem_deepest.runs.model import Problem
from fem_deepest.runs.train import Run, open_data


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Run:
    """Train a network of continuous depth.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the checkpoint in the run directory, if there is one.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; the samples are dealt out over them.
        reporter: Told of every step; default: nobody.

    Returns:
        The run. Its ``status`` says whether it converged; see ``EXIT_CODES``.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    settled = load(config, settings)
    problem = Problem.create(settled, *open_data(settled, comm))
    path = run_path(config, out, settled.output.directory)
    session = TrainSession(problem, RunDirectory(path, comm), comm, reporter or Silent())
    return session.run(resume=resume, force=force)
