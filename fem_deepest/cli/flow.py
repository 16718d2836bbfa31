"""The verb ``flow``: a stochastic flow, from a configuration to a run directory.

There are several kinds, told apart by the sections of the configuration; see :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mpi4py import MPI

from fem_deepest.cli import (
    annealed_figures,
    annealed_record,
    contour_figures,
    contour_record,
    flow_figures,
)
from fem_deepest.cli.annealed_session import AnnealedSession
from fem_deepest.cli.contour_session import ContourSession
from fem_deepest.cli.flow_session import COLUMNS, FlowSession
from fem_deepest.cli.progress import Reporter, Silent
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig, load_annealed_flow
from fem_deepest.configuration.contour import ContourConfig, load_contour
from fem_deepest.configuration.flow import FlowConfig, load_flow
from fem_deepest.configuration.section import Section, read
from fem_deepest.errors import InputError
from fem_deepest.io.rundir import RunDirectory, run_path

Source = str | Path | Mapping[str, Any] | Section


class Session(Protocol):
    """One run, set up: nothing has been written yet."""

    def run(self, *, resume: bool, force: bool) -> Any:
        """Flow to an end of any kind; what it returns has ``status`` and ``exit_code``. Collective."""


@dataclass(frozen=True)
class Kind:
    """One kind of flow.

    Attributes:
        section: The section that only its configurations have.
        title: What it is, for messages.
        model: Its configuration.
        load: Reads it, with overrides.
        columns: Of its ``history.csv``.
        session: Sets up a run in a directory; collective.
        redraw: Draws the figures of a directory again; not collective.
    """

    section: str
    title: str
    model: type[Section]
    load: Callable[[Any, Iterable[str]], Any]
    columns: tuple[str, ...]
    session: Callable[[Any, RunDirectory, Reporter], Session]
    redraw: Callable[[RunDirectory], list[Path]]


# The first is that of a configuration without any of the sections.
KINDS = (
    Kind(
        "equation",
        "an SPDE",
        FlowConfig,
        load_flow,
        COLUMNS,
        FlowSession,
        flow_figures.redraw,
    ),
    Kind(
        "action",
        "an annealed gradient flow",
        AnnealedFlowConfig,
        load_annealed_flow,
        annealed_record.COLUMNS,
        AnnealedSession,
        annealed_figures.redraw,
    ),
    Kind(
        "contour",
        "active contours",
        ContourConfig,
        load_contour,
        contour_record.COLUMNS,
        ContourSession,
        contour_figures.redraw,
    ),
)


def flow(
    config: Source,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Iterable[str] = (),
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    reporter: Reporter | None = None,
) -> Any:
    """Run a stochastic flow: one path of an SPDE, or the annealed gradient flow of an action.

    Args:
        config: TOML file, mapping or configuration; its sections tell the kind of flow.
        out: Run directory; default ``output.directory``, or ``runs/NAME`` of the file.
        resume: Go on from the checkpoint in the run directory, if there is one, on any number of ranks.
        force: Write over a run directory in use.
        settings: Overrides ``section.key=value``.
        comm: All ranks.
        reporter: Told how it goes; default: nobody.

    Returns:
        The run: of an SPDE :class:`fem_deepest.runs.flow.Flowed`, of an action
        :class:`fem_deepest.runs.annealed_flow.AnnealedFlowed`. Its ``status`` says how it ended;
        see ``EXIT_CODES``.

    Raises:
        InputError: Wrong input; nothing has been written.

    Collective on ``comm``.
    """
    settings = tuple(settings)
    kind = kind_of(config, settings)
    settled = kind.load(config, settings)
    directory = RunDirectory(run_path(config, out, settled.output.directory), comm, kind.columns)
    return kind.session(settled, directory, reporter or Silent()).run(resume=resume, force=force)


def redraw(path: Path, values: Mapping[str, Any]) -> list[Path]:
    """Draw the figures of a flow again. Not collective.

    Args:
        path: Run directory.
        values: Its ``run.json``.

    Raises:
        InputError: What they are drawn from is missing, or cannot be read.
    """
    kind = kind_of(values.get("config", {}))
    return kind.redraw(RunDirectory(path, MPI.COMM_SELF, kind.columns))


def kind_of(source: Source, settings: Iterable[str] = ()) -> Kind:
    """The kind of flow that a configuration describes. Not collective.

    Raises:
        InputError: There are sections of several kinds.
    """
    for kind in KINDS:
        if isinstance(source, kind.model):
            return kind
    values = read(source, settings)
    found = [kind for kind in KINDS if kind.section in values]
    if len(found) > 1:
        told = " and ".join(f"[{kind.section}], which is of {kind.title}" for kind in found)
        raise InputError(f"the configuration has {told}: a run is one of them, leave out the other")
    return found[0] if found else KINDS[0]
