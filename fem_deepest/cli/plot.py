"""The verb ``plot``: the figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from fem_deepest.cli import chains, flow, levels, study
from fem_deepest.data import DataSet
from fem_deepest.io.fields import write_fields
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.runs.train import Run, open_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 512  # neurons whose matrices are drawn


def plot(directory: str | Path) -> list[Path]:
    """Draw the figures of a run directory again, and write the fields that a training has left out.

    Raises:
        InputError: There is no run, or its data cannot be read any more.

    Not collective.
    """
    place = RunDirectory(Path(directory), MPI.COMM_SELF)
    values = place.read_json()
    if values.get("verb") == "study":
        return study.redraw(place)
    if values.get("verb") == "anneal":
        return levels.redraw(place.path, values)
    if values.get("verb") == "flow":
        return flow.redraw(place.path, values)
    if values.get("verb") == "sample":
        return chains.redraw(place.path, values)
    run = Run.load(directory)
    found = open_data(run.config, MPI.COMM_SELF)
    train, test = (None if part is None else part.shown() for part in found)
    assert train is not None
    if run.config.output.fields and not run.fields.is_dir():  # left out for weights on many ranks
        write_fields(run.fields, run.model, train)
    return draw(run, train, test)


def draw_history(run: Run) -> list[Path]:
    """Write the figure of the history alone. Not collective."""
    from fem_deepest import figures

    made = figures.history(*_history(run))
    return [figures.save(made, run.directory / "figures" / "history.png")]


def draw(run: Run, train: DataSet, test: DataSet | None) -> list[Path]:
    """Write the figures of a run into its ``figures/``; returns their paths. Not collective."""
    # Matplotlib takes half a second to import; a run without figures does not wait for it.
    from fem_deepest import figures
    from fem_deepest.figures.style import depths, subsample

    model, folder = run.model, run.directory / "figures"
    network = model.network
    made = {"history": figures.history(*_history(run))}
    theta = network.coupling.effective(model.parameters.theta)
    if network.index.neurons <= _MOST:
        W, b = network.coupling.matrix(theta), network.bias(theta)
        made["weights"] = figures.weights(network.depth.nodes, W, b)

    if isinstance(network.coupling, OperatorCoupling):
        made["coefficients"] = _coefficients(network.depth.nodes, network.coupling, theta)

    shown = test if test is not None else train
    part = "test" if test is not None else "training"
    few = shown.take(subsample(shown.samples))
    nodes = depths(network.depth.cells + 1)
    states = model.states(few.inputs)[nodes]
    labels = few.targets if few.is_classification else few.targets[:, 0]
    made["features"] = figures.features(
        [float(t) for t in network.depth.nodes[nodes]], list(states), labels, model.classes
    )
    predicted = model.predict(shown.inputs)
    if model.classes is None:
        made["prediction"] = figures.prediction(shown.targets, predicted)
    else:
        counts = np.zeros((len(model.classes),) * 2, dtype=np.int64)
        np.add.at(counts, (shown.targets.astype(np.int64), predicted.argmax(axis=1)), 1)
        made["confusion"] = figures.confusion(
            counts, model.classes, f"{shown.name}, {shown.samples} {part} samples"
        )
        if model.network.inputs == 2:
            made["decision"] = _decision(run, shown)
    return [figures.save(figure, folder / f"{name}.png") for name, figure in made.items()]


def _coefficients(t: np.ndarray, coupling: OperatorCoupling, theta: np.ndarray) -> Figure:
    """Coefficients of a coupling by operators, over the index or over its offsets."""
    from fem_deepest import figures

    fields, names = coupling.fields(theta)
    if coupling.kernel is None:
        index = coupling.index
        return figures.coefficients(t, fields, names, index.coordinates, index.grid)
    offsets = coupling.kernel.space
    places = offsets.coordinates - 0.5 * offsets.coordinates.max(axis=0)
    return figures.coefficients(t, fields, names, places, offsets.grid, "offset $s - s'$")


def _history(run: Run) -> tuple[dict[str, np.ndarray], list[tuple[float, str]]]:
    """Columns of the history, and where each stage begins."""
    columns = run.history()
    neurons = columns.get("neurons", np.zeros_like(columns["cells"]))  # older runs have none
    refined = np.ptp(neurons) > 0
    keys = list(zip(columns["stage"], columns["cells"], neurons, strict=True))
    levels = []
    for i, (stage, cells, width) in enumerate(keys):
        if i == 0 or keys[i - 1] != keys[i]:
            level = f"{int(cells)} cells" + (f", {int(width)} neurons" if refined else "")
            label = {"newton": "Newton", "noise": "noise"}.get(stage, level)
            levels.append((float(columns["evaluations"][i]), label))
    return {k: v for k, v in columns.items() if k != "stage"}, levels


def _decision(run: Run, shown: DataSet, resolution: int = 200) -> Figure:
    """Class regions of a network with two inputs."""
    from fem_deepest import figures

    low, high = shown.inputs.min(axis=0), shown.inputs.max(axis=0)
    margin = 0.08 * (high - low)
    axes = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    x, y = np.meshgrid(*axes)
    probability = run.model.predict(np.column_stack([x.ravel(), y.ravel()]))
    assert run.model.classes is not None
    return figures.decision(
        (axes[0][0], axes[0][-1]),
        (axes[1][0], axes[1][-1]),
        probability.reshape(resolution, resolution, -1),
        shown.inputs,
        shown.targets,
        run.model.classes,
        columns=(shown.columns[0], shown.columns[1]),
    )
