"""Deepest learning: neural networks of continuous depth as statistical data assimilation.

Abarbanel, Rozdeba, Shirman, Machine learning; deepest learning as statistical data assimilation
problems, Neural Computation 30 (2018) 2025-2055, arXiv:1707.01415.

Every verb of the command is a function here: ``run = fem_deepest.train("demos/digits.toml")``.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0"

try:
    from fem_deepest import _petsc  # noqa: F401  (first: starts PETSc with what follows "--")

    import dolfinx  # noqa: F401
except ImportError as error:
    _message = (
        f"fem_deepest needs DOLFINx 0.9 or later with petsc4py ({error}); run your command with "
        "docker/run, or install it with 'conda install -c conda-forge fenics-dolfinx' or, on "
        "Debian 13, 'apt install python3-dolfinx'."
    )
    # The command says it without a traceback: python -m fem_deepest imports this file first.
    if sys.orig_argv[1:3] == ["-m", "fem_deepest"] or sys.argv[0].endswith("fem-deepest"):
        sys.exit(f"fem-deepest: {_message}")
    raise ImportError(_message) from None

from fem_deepest import _ranks
from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.runs.anneal import Annealed
from fem_deepest.cli.anneal import anneal
from fem_deepest.cli.export import export
from fem_deepest.cli.flow import flow
from fem_deepest.cli.generate import GeneratedFile, generate
from fem_deepest.cli.info import info
from fem_deepest.cli.plan import plan
from fem_deepest.cli.plot import plot
from fem_deepest.cli.predict import predict
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.cli.study import study
from fem_deepest.cli.train import train
from fem_deepest.configuration.train import Config, load
from fem_deepest.errors import (
    FemDeepestError,
    InputError,
    NotConverged,
    NumericalFailure,
)
from fem_deepest.configuration.flow import FlowConfig
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.configuration.contour import ContourConfig
from fem_deepest.configuration.sample import PosteriorConfig, SampleConfig
from fem_deepest.runs.annealed_flow import AnnealedFlowed
from fem_deepest.runs.contour import Contoured
from fem_deepest.runs.sample import Sampled
from fem_deepest.runs.flow import Flowed
from fem_deepest.runs.plan import Plan
from fem_deepest.runs.train import Run
from fem_deepest.studies.run import StudyRun

_ranks.install()  # an exception on one rank ends all of them

__all__ = [
    "AnnealConfig",
    "Annealed",
    "AnnealedFlowConfig",
    "AnnealedFlowed",
    "Config",
    "ContourConfig",
    "Contoured",
    "FemDeepestError",
    "FlowConfig",
    "Flowed",
    "GeneratedFile",
    "InputError",
    "NetworkAnnealConfig",
    "NotConverged",
    "NumericalFailure",
    "Plan",
    "PosteriorConfig",
    "Run",
    "SampleConfig",
    "Sampled",
    "StudyRun",
    "anneal",
    "export",
    "flow",
    "generate",
    "info",
    "load",
    "plan",
    "plot",
    "predict",
    "sample_posterior",
    "study",
    "train",
]
