"""Whose posterior a configuration means."""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.sample import PosteriorConfig
from fem_deepest.configuration.train import load
from fem_deepest.errors import InputError
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.runs.anneal import load_search
from fem_deepest.runs.sample_network import NetworkPosterior
from fem_deepest.runs.sample_paths import PathPosterior
from fem_deepest.runs.sampling import Sampling
from fem_deepest.runs.train import Run


def posterior(config: PosteriorConfig) -> Sampling:
    """The posterior of a configuration.

    Raises:
        InputError: There is no such file or run, or what it holds has no posterior that can be sampled.

    Not collective, the same on every rank.
    """
    section = config.posterior
    if section.train is not None:
        return NetworkPosterior(config, load(section.train, section.settings))
    if section.anneal is not None:
        return _of_paths(config, load_search(section.anneal, section.settings), None)
    assert section.run is not None
    folder = Path(section.run)
    values = RunDirectory(folder, MPI.COMM_SELF).read_json()
    verb = values.get("verb")
    if verb == "train":
        run = Run.load(folder)
        return NetworkPosterior(config, run.config, run.model, run.status == "converged")
    if verb == "anneal":
        return _of_paths(config, load_search(values["config"]), folder)
    raise InputError(f"{folder} holds a run of '{verb}', expected one of 'train' or 'anneal'")


def _of_paths(
    config: PosteriorConfig, search: AnnealConfig | NetworkAnnealConfig, folder: Path | None
) -> PathPosterior:
    if isinstance(search, NetworkAnnealConfig):
        raise InputError(
            "this annealing is of networks with a finite R_f, whose states would be sampled too; give "
            "posterior.train, the configuration of a training"
        )
    return PathPosterior(config, search, folder)
