"""Files and figures of a sampling run; rank 0 alone, nothing in here is collective."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fem_deepest.configuration.sample import SampleConfig, load_sampling
from fem_deepest.errors import InputError
from fem_deepest.io.inference import write_inference_data
from fem_deepest.io.rundir import write_text
from fem_deepest.runs.sample import LABELS, target
from fem_deepest.sample.run import Sample
from fem_deepest.sample.transfer import middle_density


def write_chains(
    directory: Path,
    config: SampleConfig,
    chains: Sample,
    table: Mapping[str, Mapping[str, float]],
) -> None:
    """``chains.nc``, ``diagnostics.csv`` and the figures."""
    shape = chains.values["middle"].shape
    coordinates, dims = dict[str, Any](), dict[str, list[str]]()
    if config.chains.paths:
        t = np.linspace(0.0, config.bridge.depth, config.bridge.cells + 1)
        coordinates, dims = {"t": t}, {"path": ["t"]}
    stats = {
        "acceptance_rate": np.broadcast_to(chains.acceptance[:, None], shape).copy(),
        "step_size": np.broadcast_to(chains.steps[:, None], shape).copy(),
    }
    write_inference_data(
        directory / "chains.nc",
        {"posterior": chains.values, "sample_stats": stats},
        coordinates,
        dims,
        {"inference_library": "fem_deepest", "kernel": config.sampler.kernel},
    )
    text = io.StringIO()
    rows = [{"quantity": name, **row} for name, row in table.items()]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(directory / "diagnostics.csv", text.getvalue())
    if config.output.figures:
        draw_chains(directory / "figures", config, chains.values["middle"])


def redraw(directory: Path, values: dict[str, Any]) -> list[Path]:
    """Draw the figures of a run directory again; see :mod:`fem_deepest.cli.plot`.

    Raises:
        InputError: There are no chains, or they cannot be read.
    """
    config, path = load_sampling(values["config"]), directory / "chains.nc"
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            middle = file["posterior"]["middle"][()]
    except (OSError, KeyError) as error:
        raise InputError(
            f"cannot read {path}: {error}; run it to its end before drawing it"
        ) from None
    return draw_chains(directory / "figures", config, middle)


def draw_chains(folder: Path, config: SampleConfig, middle: Any) -> list[Path]:
    """Write ``trace.png`` and ``marginal.png`` from the middle of the path, (chains, draws)."""
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest.figures import save
    from fem_deepest.figures.chains import marginal, trace

    section, label = config.bridge, LABELS["middle"]
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
