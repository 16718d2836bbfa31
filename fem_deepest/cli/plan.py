"""The verb ``plan``: time, memory and messages of a training on so many ranks, before it is run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI
from rich.table import Table

from fem_deepest.configuration.train import Config, load
from fem_deepest.errors import InputError
from fem_deepest.io.rundir import write_text
from fem_deepest.performance import calibration
from fem_deepest.performance.choose import Estimate, gigabytes
from fem_deepest.performance.machine import Machine, Placement, node
from fem_deepest.performance.presets import PRESETS
from fem_deepest.performance.scaling import CELLS, strong, weak_in_depth, weak_in_samples
from fem_deepest.performance.traffic import total
from fem_deepest.runs.layout import lacking
from fem_deepest.runs.plan import Plan, make_plan, planned_workload
from fem_deepest.spaces.tasks import on_root

COLUMNS = (
    *("grid", "weights", "chunk", "gradient_seconds", "iteration_seconds", "efficiency"),
    *("compute", "waiting", "transfer", "memory_bytes", "memory_share"),
    *("messages", "message_bytes", "fits"),
)


def plan(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    ranks: int,
    node: str | Path | Mapping[str, Any] | Machine = "epyc",
    samples: int | None = None,
    inputs: int | None = None,
    outputs: int | None = None,
    settings: Iterable[str] = (),
    save: str | Path | None = None,
    out: str | Path | None = None,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
) -> Plan:
    """Predict what the finest level of a training costs on all grids of so many ranks.

    Args:
        config: TOML file, mapping or configuration.
        ranks: Number of ranks to plan for, not those of this call.
        node: What they run on: "this" host, measured now; a known node; a TOML file, or its values.
        samples: Training samples in place of those of the data; with ``inputs`` and ``outputs`` no data
            are read.
        inputs: Numbers of an input.
        outputs: Numbers of an output.
        settings: Overrides ``section.key=value``.
        save: File to write the constants of the node to.
        out: Directory for ``table.csv`` and the figure of predicted scaling.
        comm: Ranks of this call, which measure "this" host together: at most one a core.

    Returns:
        The plan; the fastest grid that fits comes first.

    Raises:
        InputError: Wrong input, an unknown node, or no grid that fits, with what would.

    Collective on ``comm``.
    """
    if ranks < 1:
        raise InputError(f"a plan for {ranks} ranks was asked for, expected at least one")
    settled = load(config, settings)
    whole_alone = lacking(settled)
    if whole_alone and settled.parallel.weights == "sharded":
        raise InputError(
            f"parallel.weights = 'sharded' is not made for {whole_alone}, or parallel.weights = 'whole'"
        )
    workload = planned_workload(settled, samples=samples, inputs=inputs, outputs=outputs, comm=comm)
    machine = _machine(node, workload.neurons, comm)
    if save is not None:
        on_root(lambda: calibration.save(machine, save), comm)
    weights = "whole" if whole_alone else settled.parallel.weights
    found = make_plan(workload, machine, ranks, weights, settled.parallel.chunk)
    if out is not None:
        on_root(lambda: _leave(Path(out), found), comm)
    return found


def _machine(
    source: str | Path | Mapping[str, Any] | Machine, neurons: int, comm: MPI.Intracomm
) -> Machine:
    if source == "this":
        return calibration.measure(comm, neurons)
    return node(source, PRESETS)


def rows(found: Plan) -> list[dict[str, Any]]:
    """One row for each grid, with the keys ``COLUMNS``. Not collective."""
    return [_row(e) for e in found.estimates]


def _row(e: Estimate) -> dict[str, Any]:
    g, sent = e.gradient, total(e.layout)
    values = (
        e.layout.name,
        "sharded" if e.layout.sharded else "whole",
        e.layout.width,
        g.seconds,
        e.iteration.seconds,
        e.efficiency,
        *(part / g.seconds for part in (g.compute, g.waiting, g.transfer)),
        e.memory,
        e.memory / e.available,
        sent.messages,
        sent.bytes,
        e.fits,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _leave(directory: Path, found: Plan) -> None:
    """Write table and figure."""
    from fem_deepest.figures.scaling import scaling  # Matplotlib
    from fem_deepest.figures.style import save

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(found))
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "table.csv", text.getvalue())
    sizes = found.workload, found.machine, found.ranks
    how: dict[str, Any] = {"weights": found.weights, "width": found.width}
    one, samples, depth = (f(*sizes, **how) for f in (strong, weak_in_samples, weak_in_depth))
    gradients = [e.gradient for e in one.best]
    figure = scaling(
        one.ranks,
        one.seconds,
        [e.fits for e in one.best],
        [e.layout.name for e in one.best],
        {
            "one problem": one.efficiency,
            f"samples grow, {samples.best[0].layout.samples} a rank": samples.efficiency,
            f"depth grows, {CELLS} cells a rank": depth.efficiency,
        },
        {
            "computation": [g.compute / g.seconds for g in gradients],
            "waiting for the pipeline": [g.waiting / g.seconds for g in gradients],
            "messages": [g.transfer / g.seconds for g in gradients],
        },
        assumptions(found),
        f"Predicted: {described(found)}",
    )
    save(figure, directory / "scaling.png")


def described(found: Plan) -> str:
    """The problem in a few words."""
    w = found.workload
    return (
        f"{w.neurons} neurons, {w.cells} cells, {w.samples:,} samples, {w.parameters:,} parameters"
    )


def assumptions(found: Plan) -> str:
    """What the predictions rest on."""
    m = found.machine
    return (
        f"Assumed, not measured at this size: nodes '{m.name}' ({m.source}) of {m.cores} cores; "
        f"{m.flops / 1e9:.0f} GFlop/s a core in wide products, {m.node_stream / 1e9:.0f} GB/s of memory a "
        f"node shared by its ranks; {1e6 * m.node_latency:.1f} us and {m.node_link / 1e9:.0f} GB/s into a "
        f"node, no congestion; {100 * m.overlap:.0f} % of gathers and reductions behind the computation; "
        f"one gradient an iteration, {found.workload.memory} pairs."
    )


def summary(found: Plan, most: int = 10) -> tuple[Table, list[str]]:
    """The fastest grids as a table, and what else is to be said. Not collective."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("grid", "weights"):
        table.add_column(name, no_wrap=True)
    for name in (
        "chunk",
        "gradient",
        "iteration",
        "efficiency",
        "compute/wait/send",
        "memory a rank",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("messages", "sent"):
        table.add_column(name, justify="right", no_wrap=True)
    for e, row in list(zip(found.estimates, rows(found), strict=True))[:most]:
        table.add_row(
            row["grid"],
            row["weights"],
            str(row["chunk"]) if e.layout.sharded else "",
            _seconds(row["gradient_seconds"]),
            _seconds(row["iteration_seconds"]),
            f"{row['efficiency']:.0%}",
            " / ".join(f"{row[k]:.0%}" for k in ("compute", "waiting", "transfer")),
            f"{gigabytes(e.memory)} ({row['memory_share']:.0%})" + ("" if e.fits else " too much"),
            f"{row['messages']:.3g}",
            gigabytes(row["message_bytes"]),
        )
    w, best = found.workload, found.best.layout
    place, flops = Placement(found.machine, found.ranks), f"{w.flops() / 1e9:.3g} GFlop a gradient"
    how = f"grid = {best.name}, weights = {'sharded' if best.sharded else 'whole'}"
    lines = [
        f"{described(found)}, {flops}",
        f"{found.ranks} ranks on {place.nodes} x '{found.machine.name}', {place.here} on each",
        f"best: parallel.{how}" + (f", chunk = {best.width}" if best.sharded else ""),
    ]
    return table, [*lines, assumptions(found)]


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{1e6 * value:.3g} us"
