"""The verb ``anneal``: precision annealing over many starts, to a table of action levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.cli.anneal_session import AnnealSession
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.io.rundir import RunDirectory, run_path
from fem_deepest.runs.anneal import Annealed, load_search, make_search


def anneal(
    config: str | Path | Mapping[str, Any] | AnnealConfig | NetworkAnnealConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Annealed:
    """Anneal the precision of the model for many starts and tell the action levels.

    Args:
        config: TOML file, mapping or configuration.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the finished rungs in the run directory.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks; the batches of starts are dealt out over them, and the result does not depend
            on their number.
        reporter: Told what is going on; default: nobody.

    Raises:
        InputError: Wrong input, and nothing has been written; or there is no room to write, and what
            is there can be resumed.

    Collective on ``comm``.
    """
    settled = load_search(config, settings)
    search = make_search(settled)
    path = run_path(config, out, settled.output.directory)
    session = AnnealSession(settled, search, RunDirectory(path, comm), reporter or Silent())
    return session.run(resume=resume, force=force)
