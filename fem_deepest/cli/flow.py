"""The verb ``flow``: one path of an SPDE, from a configuration to a run directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.cli.flow_figures import redraw
from fem_deepest.cli.flow_session import COLUMNS, FlowSession
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.configuration.flow import FlowConfig, load_flow
from fem_deepest.io.rundir import RunDirectory, run_path
from fem_deepest.runs.flow import Flowed, FlowProblem

__all__ = ["COLUMNS", "flow", "redraw"]


def flow(
    config: str | Path | Mapping[str, Any] | FlowConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Flowed:
    """Step one path of a semilinear SPDE with PETSc's TS; ``-ts_monitor`` and the like work.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the checkpoint in the run directory, if there is one, on any number of ranks.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; the mesh is spread over them.
        reporter: Told how it goes; default: nobody.

    Returns:
        The run. Its ``status`` says whether the final time was reached; see ``EXIT_CODES``.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    settled = load_flow(config, settings)
    problem = FlowProblem(settled, comm)
    path = run_path(config, out, settled.output.directory)
    session = FlowSession(settled, problem, RunDirectory(path, comm, COLUMNS), reporter or Silent())
    return session.run(resume=resume, force=force)
