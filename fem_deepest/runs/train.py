"""A run as it lies on disk: configuration, stages, metrics, and the trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import data
from fem_deepest.configuration.data import Data
from fem_deepest.configuration.train import Config, load
from fem_deepest.data import DataSet, Samples
from fem_deepest.data.deal import Deal
from fem_deepest.data.inputs import LARGE
from fem_deepest.data.opening import data_bytes
from fem_deepest.data.opening import open_data as open_source
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.io.seal import Table
from fem_deepest.io.search import level_of
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.model import Model
from fem_deepest.spaces import ProcessGrid
from fem_deepest.spaces.tasks import on_root

_PART = 8  # of the memory that a rank may take, one of which is for data

EXIT_CODES = {"converged": 0, "not_converged": 3, "failed": 4, "interrupted": 130}


@dataclass(frozen=True)
class Run:
    """What :func:`fem_deepest.train` returns and a run directory holds.

    Attributes:
        directory: The run directory.
        status: "converged", "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        stages: One dictionary a solve: cells, action and its parts, gradient, iterations, ...
        metrics: Accuracies or root mean square errors, and the action.
        seconds: Wall time, that of resumed parts included.
        trained: The trained network, where it is at hand; see :attr:`model`.
    """

    directory: Path
    status: str
    config: Config
    stages: list[dict[str, Any]]
    metrics: dict[str, float]
    seconds: float
    trained: Model | None = field(default=None, repr=False)

    @cached_property
    def model(self) -> Model:
        """The trained network; read from the checkpoint where it is not at hand. Not collective.

        Raises:
            InputError: There is no checkpoint any more.
        """
        return self.trained or stored_model(self.directory, self.config)

    @property
    def fields(self) -> Path:
        """Folder of the fields for ParaView."""
        return self.directory / "fields"

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]

    def predict(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities (K, C), or values (K, outputs), of raw inputs (K, d). Not collective."""
        return self.model.predict(np.asarray(inputs, dtype=np.float64))

    def history(self) -> dict[str, NDArray]:
        """Columns of ``history.csv``. Not collective."""
        return RunDirectory(self.directory, ProcessGrid.create().comm).history()

    @classmethod
    def load(cls, directory: str | Path) -> Run:
        """Read a run directory. Not collective.

        Raises:
            InputError: The directory holds no run, or no checkpoint yet.
        """
        path = Path(directory)
        values = RunDirectory(path, ProcessGrid.create().comm).read_json()
        # Other verbs have none, and another configuration.
        table = checkpoint.open_table(path / "checkpoint.h5")
        config = configuration(values["config"])
        return cls(
            path,
            values["status"],
            config,
            values["stages"],
            values["metrics"],
            values["seconds"],
            _model(path, table, config),
        )


def stored_model(directory: Path, config: Config) -> Model:
    """The model in the checkpoint of a run directory. Not collective.

    Raises:
        InputError: There is no checkpoint.
    """
    return _model(directory, checkpoint.open_table(directory / "checkpoint.h5"), config)


def _model(directory: Path, table: Table, config: Config) -> Model:
    flat = checkpoint.read_array(directory / "checkpoint.h5", "control", table)
    return Model.restore(config, level_of(table.meta), flat, table.meta["model"])


def configuration(values: dict[str, Any]) -> Config:
    """The configuration of a ``run.json``, where null stands for an infinite precision."""
    values = {key: dict(v) if isinstance(v, dict) else v for key, v in values.items()}
    for name in ("R_f", "R_0"):
        if values.get("action", {}).get(name, 0.0) is None:
            values["action"][name] = float("inf")
    return load(values)


def load_data(config: Config) -> tuple[DataSet, DataSet | None]:
    """Training and test part of a configuration's data, all in memory. Not collective: every rank reads.

    Raises:
        InputError: What is wrong with the data, or they are to be read in parts.
    """
    section = config.data
    if section.stream is True:
        raise InputError(
            "data.stream = true was given, but of the verbs only train reads data in parts; set it to "
            "false, or auto"
        )
    whole = data.load(**_chosen(section))
    train, test = data.split(whole, section.test_fraction, section.split_seed)
    if train.samples < 1:
        raise InputError("there are no training samples; give more data or a smaller test_fraction")
    return train, test


def open_data(
    config: Config, comm: MPI.Intracomm
) -> tuple[DataSet | Samples, DataSet | Samples | None]:
    """Training and test part of a configuration's data; of large ones every rank reads its part.

    Args:
        config: Configuration.
        comm: The ranks that read.

    Raises:
        InputError: What is wrong with the data.

    Collective on ``comm``.
    """
    section = config.data
    sizes = section.name, section.samples, section.features, section.outputs, section.path
    if not section.stream or (
        section.stream == "auto" and on_root(lambda: data_bytes(*sizes), comm) < LARGE
    ):
        return load_data(config)
    source = open_source(**_chosen(section), comm=comm)
    deal = Deal(source.samples, section.test_fraction, section.split_seed)
    if section.memory is not None:
        memory = int(section.memory * 2**20)
    else:
        memory = memory_estimate.share(comm) // _PART
    parts = [Samples(source, deal, test=test, comm=comm, memory=memory) for test in (False, True)]
    return parts[0], parts[1] if deal.tests else None


def _chosen(section: Data) -> dict[str, Any]:
    """What data are meant, as arguments of what opens them."""
    names = "name samples seed noise path target inputs kind features outputs"
    return {name: getattr(section, name) for name in names.split()}
