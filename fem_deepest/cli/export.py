"""The verb ``export``: the trained field as an ordinary network in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.io.export import npz, onnx, pytorch
from fem_deepest.io.export.ordinary import OrdinaryNetwork, replace_files
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.runs.model import Model
from fem_deepest.runs.ordinary import ordinary
from fem_deepest.runs.resampled import resampled
from fem_deepest.runs.train import Run, open_data

Files = list[tuple[Path, bytes]]

WRITERS: dict[str, tuple[str, Callable[[OrdinaryNetwork, Path], Files]]] = {
    "npz": (npz.SUFFIX, npz.npz_files),
    "torch": (pytorch.SUFFIX, pytorch.torch_files),
    "onnx": (onnx.SUFFIX, onnx.onnx_files),
}
PRECISIONS = {"single": "float32", "double": "float64"}


@dataclass(frozen=True)
class Exported:
    """What :func:`fem_deepest.export` returns.

    Attributes:
        files: The files written, the one to open first.
        network: What is in them.
        metrics: ``train_accuracy``, ``test_accuracy`` or root mean square errors, as of a run, at this
            number of layers and neurons; empty where the data of the run cannot be read any more.
        run: The run.
    """

    files: tuple[Path, ...]
    network: OrdinaryNetwork = field(repr=False)
    metrics: dict[str, float]
    run: Run = field(repr=False)


def export(
    directory: str | Path,
    *,
    layers: int | None = None,
    neurons: int | Sequence[int] | None = None,
    format: str = "npz",
    precision: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> Exported:
    """Write the trained field of a run as an ordinary network that raw inputs go into.

    The weights are a field over the depth, so that the network may have any number of layers: it is
    the field at their depths, with the scheme of the run. With the layers and neurons of the run it
    predicts as the run does, to rounding; with more it tends to the continuous network. An implicit
    stage is written out as fixed-point turns down to rounding.

    Args:
        directory: A run directory of ``train``.
        layers: Number of layers ``L``; default: the depth cells of the run.
        neurons: Number of neurons ``N`` of an interval, rows and columns of a rectangle; default: those
            of the run.
        format: "npz", "torch" (a module and an archive beside it) or "onnx".
        precision: "single" or "double"; default: double for npz, single for the others.
        out: File to write; default: ``network`` with the ending of the format, in the run directory.
        force: Write over existing files.

    Raises:
        InputError: There is no such run, what is asked for cannot be had of it, or a file exists.

    Not collective.
    """
    suffix, writer = _pick("format", format, WRITERS)
    kind = _pick("precision", precision or ("double" if format == "npz" else "single"), PRECISIONS)
    folder = Path(directory)
    path = folder / f"network{suffix}" if out is None else Path(out)
    if path.suffix != suffix:
        raise InputError(
            f"{path} does not end in {suffix}, as a file of --format {format} does; give another --out"
        )
    verb = RunDirectory(folder, MPI.COMM_SELF).read_json().get("verb")
    if verb != "train":
        raise InputError(
            f"{folder} holds a run of '{verb}', expected one of 'train'; give the directory of a training"
        )
    run = Run.load(folder)
    wanted = (neurons,) if isinstance(neurons, int) else tuple(neurons or ())
    model = resampled(run.model, run.config, layers, wanted)
    network = ordinary(model, run.config.network.sharpness, kind, f"exported from {folder.name}")
    files = writer(network, path)
    for target, _ in files:
        if target.exists() and not force:
            raise InputError(f"{target} exists; give --force to write over it, or another --out")
    try:
        replace_files(files)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); give another --out") from None
    written = tuple(target for target, _ in reversed(files))
    return Exported(written, network, _scores(model, run), run)


def _scores(model: Model, run: Run) -> dict[str, float]:
    try:
        train, test = open_data(run.config, MPI.COMM_SELF)
    except InputError:
        return {}
    found = {}
    for part, data in (("train", train), ("test", test)):
        if data is not None:
            name, value = model.score(data)
            found[f"{part}_{name}"] = value
    return found


def _pick(name: str, value: str, table: dict[str, Any]) -> Any:
    if value not in table:
        raise InputError(f"unknown {name} '{value}', expected one of {tuple(table)}")
    return table[value]


def counts(text: str | None) -> tuple[int, ...] | None:
    """Numbers of neurons as they are written on the command line: 64, or 16x16.

    Raises:
        InputError: They are something else.
    """
    if text is None:
        return None
    words = text.lower().split("x")
    if not all(word.isdecimal() for word in words) or len(words) > 2:
        raise InputError(f"--neurons is '{text}', expected a number like 64 or two like 16x16")
    return tuple(map(int, words))


def summary(exported: Exported) -> list[str]:
    """Lines for people: the files, what is in them, and the score beside that of the run."""
    network, run = exported.network, exported.run
    lines = [str(path) for path in exported.files]
    precision = next(name for name, kind in PRECISIONS.items() if network.mean.dtype == kind)
    lines.append(
        f"{network.layers} layers of {network.neurons} neurons, {network.parameters} parameters in "
        f"{precision} precision"
    )
    for name, value in exported.metrics.items():
        lines.append(f"{name} {value:.4g}, of the run {run.metrics[name]:.4g}")
    if not exported.metrics:
        lines.append("the data of the run cannot be read, so the network is not scored")
    if run.status != "converged":
        lines.append(f"status of the run: {run.status}")
    return lines
