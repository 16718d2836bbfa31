"""Files and figures of a sampling run; rank 0 alone, nothing in here is collective."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI

from fem_deepest.configuration.sample import load_sampling
from fem_deepest.errors import InputError
from fem_deepest.io.inference import write_inference_data
from fem_deepest.io.rundir import write_text
from fem_deepest.runs.sample import make_sampling
from fem_deepest.runs.sampling import Sampling, Table, Values
from fem_deepest.sample.run import Sample

CHAINS, DIAGNOSTICS, BATCHES = "chains.nc", "diagnostics.csv", "batches"


def write_chains(
    directory: Path,
    sampling: Sampling,
    kernel: str,
    chains: Sample,
    diagnostics: Mapping[str, Mapping[str, float]],
    tables: Mapping[str, Table],
) -> None:
    """``chains.nc``, ``diagnostics.csv`` and the tables of the predictions."""
    shape = next(iter(chains.values.values())).shape[:2]
    coordinates, dims = sampling.coordinates(chains.values)
    stats = {
        "acceptance_rate": np.broadcast_to(chains.acceptance[:, None], shape).copy(),
        "step_size": np.broadcast_to(chains.steps[:, None], shape).copy(),
    }
    write_inference_data(
        directory / CHAINS,
        {"posterior": chains.values, "sample_stats": stats},
        coordinates,
        dims,
        {"inference_library": "fem_deepest", "kernel": kernel},
    )
    rows = [[name, *row.values()] for name, row in diagnostics.items()]
    head = ["quantity", *next(iter(diagnostics.values()))]
    for name, (own, body) in {DIAGNOSTICS: (head, rows), **tables}.items():
        _write(directory / name, own, body)


def redraw(directory: Path, values: dict[str, Any]) -> list[Path]:
    """Draw the figures of a run directory again; see :mod:`fem_deepest.cli.plot`.

    Raises:
        InputError: There are no chains, or they or the data cannot be read.
    """
    config, path = load_sampling(values["config"]), directory / CHAINS
    sampling = make_sampling(config)
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            group = file["posterior"]
            kept = {n: group[n][()] for n in group if group[n].ndim > 1}
    except (OSError, KeyError) as error:
        raise InputError(
            f"cannot read {path}: {error}; run it to its end before drawing it"
        ) from None
    sampling.prepare(directory / BATCHES, MPI.COMM_SELF, lambda: False)
    return draw_chains(directory / "figures", sampling, kept, config.chains.thin)


def draw_chains(folder: Path, sampling: Sampling, values: Values, thin: int) -> list[Path]:
    """Write the figures of what is sampled."""
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest.figures import save

    made = sampling.figures(values, thin)
    return [save(figure, folder / f"{name}.png") for name, figure in made.items()]


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([head, *rows])
    write_text(path, text.getvalue())
