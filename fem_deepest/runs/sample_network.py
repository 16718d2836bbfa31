"""The posterior of a trained network, to be sampled, and what it predicts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import data
from fem_deepest.configuration.sample import PosteriorConfig
from fem_deepest.configuration.train import Config
from fem_deepest.data import DataSet
from fem_deepest.errors import InputError, Interrupted
from fem_deepest.io.search import signature
from fem_deepest.io.start import read_start, write_start
from fem_deepest.network.loss import LeastSquares
from fem_deepest.runs.model import Model
from fem_deepest.runs.predictions import Predictions
from fem_deepest.runs.problem import Problem, make_schedule
from fem_deepest.runs.sampling import Table, Values, kernel_maker
from fem_deepest.runs.start import begin, check_start
from fem_deepest.runs.train import load_data
from fem_deepest.sample.network import NetworkTarget, informed, misfit_curvature, weight_precision
from fem_deepest.sample.run import Setting
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.spaces.tasks import dealt

Array = NDArray[np.float64]

RANK = 500
_MOST = 2000  # draws that the predictions are made of


class NetworkPosterior:
    """A :class:`fem_deepest.runs.sample.Sampling` of the weights of a network.

    Args:
        config: The configuration.
        training: That of the network.
        model: The trained network; found by training if None.
        solved: Whether its training has converged.

    Raises:
        InputError: The data cannot be read, the network has unknown states, its outputs are no
            probabilities, a key is for paths, or the training cannot be done here.
    """

    def __init__(
        self,
        config: PosteriorConfig,
        training: Config,
        model: Model | None = None,
        solved: bool = True,
    ) -> None:
        section = config.posterior
        if section.R_f is not None:
            raise InputError(
                f"posterior.R_f = {section.R_f:g} is the precision of a path, but this is a network in "
                "the strong constraint; leave it out"
            )
        if model is None and training.search.steps:
            raise InputError(
                f"search.steps = {training.search.steps} asks for noise before the training, which sample "
                "does not make; train first and give posterior.run, or set search.steps = 0"
            )
        if model is None and training.solve.adapt != "none":
            raise InputError(
                f'solve.adapt = "{training.solve.adapt}" places the layers while it trains, and sample '
                'has to know them before; train first and give posterior.run, or set it to "none"'
            )
        self.config, self.training, self._trained = config, training, model
        self._finished = solved
        train, test = load_data(training)
        self.problem = Problem.create(training, train, test)
        shown, part = (train, "train") if test is None else (test, "test")
        if section.fresh is not None:
            shown, part = _fresh(section.fresh, training, train), "fresh"
        grid = ProcessGrid.create(MPI.COMM_SELF)
        if model is None:
            self.action = self.problem.action(Resolution(training.network.cells), grid)
        else:  # an unfinished training stands at some level, with its depth cells and neurons
            self.action = self.problem.action_of(model.network, grid)
        if train.is_classification and isinstance(self.action.loss, LeastSquares):
            raise InputError(
                'action.loss = "least_squares" gives no probabilities of classes; take "cross_entropy"'
            )
        self._replicas = NetworkTarget(self.action).replicas  # refuses unknown states
        self.predictions = Predictions(self.problem, self._replicas, shown, part)
        self._start: dict[str, Array] | None = None
        if model is None:
            nested = self._nested(lambda *_: None)
            nested.prepare()  # refuses batches that are too large
            check_start(nested.action(nested.schedule.levels[0]), training)
            self.problem.check(nested.schedule.levels[1:], self.action.grid)

    @property
    def solved(self) -> bool:
        """See :class:`Sampling`: whether the point estimate is a minimum."""
        assert self._start is not None, "prepare comes first"
        return bool(self._start["solved"][0])

    @property
    def title(self) -> str:
        """See :class:`Sampling`."""
        train, network = self.problem.train, self.action.network
        shown, part = self.predictions.shown, self.predictions.part
        return (
            f"{train.name}: {train.samples} training and {shown.samples} {part} samples; "
            f"{network.index.neurons} neurons, {network.depth.cells} depth cells, "
            f"{network.shapes.size} weights"
        )

    def signature(self) -> dict[str, Any]:
        """See :class:`Sampling`."""
        own = signature(self.training, self.problem.train)
        if self._trained is not None:
            own["checksum of the weights"] = zlib.crc32(self._trained.flat.tobytes())
        return {f"network {key}": value for key, value in own.items()}

    # Start --------------------------------------------------------------------------------------

    def prepare(self, folder: Path, comm: MPI.Intracomm, asked: Callable[[], bool]) -> str:
        """See :class:`Sampling`: train, and see in which directions the data determine the weights."""
        self._start = read_start(folder, comm)
        if self._start is None:
            (self._start,) = dealt([range(1)], lambda _: self._solve(asked), comm)
            write_start(folder, self._start, comm)
        values = self._start["values"]
        return (
            f"start at K A = {self._start['action'][0]:.6g}; the data determine "
            f"{int(np.sum(values > 1.0))} of {self._start['mode'].size} directions, {values.size} kept"
        )

    def _solve(self, asked: Callable[[], bool]) -> dict[str, Array]:
        if self._trained is None:
            mode, solved = self._train(asked)
        else:
            mode, solved = self._trained.flat, self._finished
        curvature = misfit_curvature(self.action, mode)
        rank = self.config.posterior.rank or RANK
        vectors, values = informed(curvature, weight_precision(self.action), rank)
        u = self.action.create()
        u.array[...] = mode
        action = self.action.samples * self.action.value(u)
        return {
            "mode": mode,
            "vectors": vectors,
            "values": values,
            "action": np.full(1, action),
            "solved": np.full(1, solved),
        }

    def _nested(self, step: Callable[..., None]) -> NestedIteration:
        grid = ProcessGrid.create(MPI.COMM_SELF)
        schedule = make_schedule(self.training)
        return NestedIteration(lambda level: self.problem.action(level, grid), schedule, step)

    def _train(self, asked: Callable[[], bool]) -> tuple[Array, bool]:
        """The minimiser of the action, on this rank alone, and whether it is one."""

        def step(*_: Any) -> None:
            if asked():
                raise Interrupted

        nested = self._nested(step)
        search = begin(nested, self.training)
        stages = nested.run(search)
        return np.array(search.u.array_r), stages[-1].outcome.converged

    @cached_property
    def setting(self) -> Setting:
        """See :class:`Sampling`."""
        assert self._start is not None, "prepare comes first"
        start = self._start
        T = self.config.posterior.temperature or 1.0
        target = NetworkTarget(self.action, start["mode"], start["vectors"], start["values"], T)

        def parts(v: Array) -> Array:
            found = target.replicas.value(target.weights(v))
            return target.replicas.samples * np.array([found.misfit, found.prior])

        observe = {"weights": lambda v: target.weights(v).T, "parts": parts}
        return Setting(target, kernel_maker(self.config.sampler, target), observe)

    # Draws --------------------------------------------------------------------------------------

    def numbers(self, values: Values) -> dict[str, Array]:
        """See :class:`Sampling`: the parts of ``K A``, and predictions of some samples."""
        shape = values["weights"].shape[:2]
        found = {"misfit": values["parts"][..., 0], "prior": values["parts"][..., 1]}
        for k, one in enumerate(self.predictions.watched(_flat(values)).T):
            found[f"prediction_{k}"] = np.asarray(one.reshape(shape))
        return found

    def coordinates(self, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """See :class:`Sampling`."""
        axes = {"weight": np.arange(self._replicas.size), "part": np.arange(2)}
        return axes, {"weights": ["weight"], "parts": ["part"]}

    def _ensembles(self, values: Values) -> dict[str, Array]:
        """Weights of the point estimate, and draws, evenly taken: more would say nothing new."""
        assert self._start is not None, "prepare comes first"
        w = _flat(values)
        some = np.linspace(0, len(w) - 1, min(len(w), _MOST)).round().astype(np.int64)
        return {"point": self._start["mode"][None], "posterior": w[some]}

    def findings(self, values: Values) -> tuple[dict[str, float], dict[str, Table]]:
        """See :class:`Sampling`: scores of point estimate and posterior, and all predictions."""
        metrics, table = self.predictions.findings(self._ensembles(values))
        return metrics, {"predictive.csv": table}

    def figures(self, values: Values, thin: int) -> dict[str, Any]:
        """``trace`` of the misfit, and those of the predictions."""
        from fem_deepest.figures.chains import trace  # Matplotlib; see Study.figures

        misfit, name = values["parts"][..., 0], self.problem.train.name
        iterations = np.arange(1, misfit.shape[1] + 1) * thin
        made = {"trace": trace(misfit, iterations, r"$\sum_k \Phi_T$", name)}
        return made | self.predictions.figures(self._ensembles(values))


def _flat(values: Values) -> Array:
    """All draws of the weights, (chains draws, n)."""
    w = values["weights"]
    return w.reshape(-1, w.shape[-1])


def _fresh(path: str, training: Config, train: DataSet) -> DataSet:
    """Samples of a file with the columns and classes of the training part."""
    section = training.data
    kind = "classification" if train.is_classification else "regression"
    fresh = data.load("file", path=path, target=section.target, inputs=section.inputs, kind=kind)
    if (fresh.features, fresh.outputs, fresh.classes) != (
        train.features,
        train.outputs,
        train.classes,
    ):
        raise InputError(
            f"{path} has {fresh.features} inputs and {fresh.outputs} outputs or classes, expected the "
            f"{train.features} and {train.outputs} of {train.name}; give a file with the same columns"
        )
    return fresh
