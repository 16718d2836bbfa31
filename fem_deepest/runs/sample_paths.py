"""The posterior of a path of a dynamical system and its parameters, to be sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.sample import PosteriorConfig
from fem_deepest.errors import InputError
from fem_deepest.io.batches import read_batch
from fem_deepest.io.rundir import jsonable
from fem_deepest.io.start import read_start, write_start
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.runs.sampling import Table, Values, kernel_maker
from fem_deepest.sample.paths import PathsTarget
from fem_deepest.sample.predictive import QUANTILES, quantile, regression_scores
from fem_deepest.sample.run import Setting
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import Annealing
from fem_deepest.spaces.tasks import blocks, dealt

Array = NDArray[np.float64]

_WATCHED = 4  # states in the middle whose convergence is judged


class PathPosterior:
    """A :class:`fem_deepest.runs.sample.Sampling` of paths at one ``R_f``.

    Args:
        config: The configuration.
        annealing: That of the search for the lowest path.
        folder: Run directory of that search; it is made if None.

    Raises:
        InputError: The action is no posterior or not in the state form, or a key is for networks.
    """

    def __init__(
        self, config: PosteriorConfig, annealing: AnnealConfig, folder: Path | None = None
    ) -> None:
        section, action = config.posterior, annealing.action
        for key in ("fresh", "rank", "temperature"):
            if getattr(section, key) is not None:
                raise InputError(
                    f"posterior.{key} is for networks, but this is a path; leave it out"
                )
        if (action.form, action.normalisation) != ("state", "integral"):
            raise InputError(
                f'action.form = "{action.form}" and normalisation = "{action.normalisation}" have no '
                'posterior exp(-A) of paths; take "state" and "integral"'
            )
        if folder is None and annealing.search.rungs:
            raise InputError(
                f"search.rungs = {annealing.search.rungs} asks for noise in the annealing, which sample "
                "does not make; anneal first and give posterior.run, or set search.rungs = []"
            )
        self.config, self.search, self._folder = config, PathSearch.create(annealing), folder
        self.R_f = float(section.R_f or self.search.precisions[-1])
        PathsTarget(self.search.paths, self.R_f)  # refuses ends that are clamped or periodic
        self._start: dict[str, Array] | None = None

    @property
    def solved(self) -> bool:
        """See :class:`Sampling`: whether the lowest path is a minimum."""
        assert self._start is not None, "prepare comes first"
        return bool(self._start["solved"][0])

    @property
    def title(self) -> str:
        """See :class:`Sampling`."""
        return f"R_f = {self.R_f:g}; {self.search.title}"

    def signature(self) -> dict[str, Any]:
        """See :class:`Sampling`."""
        values = self.search.config.model_dump(mode="python", by_alias=True, exclude={"output"})
        own = {f"path {key}": value for key, value in values.items()}
        return dict(jsonable(own | {"checksum of the data": self.search.checksum()}))

    # Start --------------------------------------------------------------------------------------

    def prepare(self, folder: Path, comm: MPI.Intracomm, asked: Callable[[], bool]) -> str:
        """See :class:`Sampling`: anneal up to ``R_f``, and take the lowest path."""
        self._start = read_start(folder, comm)
        if self._start is None:
            firsts = blocks(range(self.search.starts), self.search.batch)
            found = dealt(firsts, lambda part: self._lowest(part, asked), comm)
            action, path, solved = min(found, key=lambda one: one[0])
            self._start = {"path": path, "action": np.array([action]), "solved": np.array([solved])}
            write_start(folder, self._start, comm)
        return f"start at A = {self._start['action'][0]:.6g}, the lowest annealed path"

    def _lowest(self, part: range, asked: Callable[[], bool]) -> tuple[float, Array, bool]:
        """Lowest action at ``R_f`` among these starts, its path, and whether that has converged."""
        precisions = self.search.precisions
        steps = [*precisions[precisions < self.R_f], self.R_f]
        if self._folder is None:
            climb = Annealing(self.search.newton, self.search.annealing.ladder)
            u, last = self.search.begin(np.array(part)).u, None
            for R_f in steps:
                result = climb.rung(u, last, R_f, asked)
                u, last = result.u, R_f
        else:
            batch = _read(self._folder, part.start)
            u = batch.lowest[min(len(steps), batch.rung) - 1][None]
            result = self.search.newton.minimise(u, self.R_f, asked=asked)
        finite = np.where(np.isfinite(result.parts.action), result.parts.action, np.inf)
        best = int(np.argmin(finite))
        return float(finite[best]), result.u[best], bool(result.converged[best])

    @cached_property
    def setting(self) -> Setting:
        """See :class:`Sampling`."""
        assert self._start is not None, "prepare comes first"
        paths = self.search.paths
        target = PathsTarget(paths, self.R_f, self._start["path"], curved=True)

        def parts(v: Array) -> Array:
            found = paths.value((target.prior.mean + v).T, self.R_f)
            return np.array([found.measurement, found.model])

        observe = {
            "x": lambda v: np.moveaxis(target.path(v), 0, -1),
            "w": lambda v: np.moveaxis(target.parameters(v), 0, -1),
            "parts": parts,
        }
        if not target.parameters(np.zeros((paths.size, 1))).size:
            del observe["w"]
        return Setting(target, kernel_maker(self.config.sampler, target), observe)

    # Draws --------------------------------------------------------------------------------------

    def numbers(self, values: Values) -> dict[str, Array]:
        """See :class:`Sampling`: measurement and model term, parameters, states in the middle."""
        defects, x = self.search.paths.defects, values["x"]
        found = {"measurement": values["parts"][..., 0], "model": values["parts"][..., 1]}
        if "w" in values and not defects.varying:
            names = defects.dynamics.parameters
            found |= {name: values["w"][..., i] for i, name in enumerate(names)}
        for i in range(min(_WATCHED, x.shape[-1])):
            found[f"middle_{i}"] = x[..., x.shape[2] // 2, i]
        return found

    def coordinates(self, values: Values) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """See :class:`Sampling`."""
        defects = self.search.paths.defects
        axes: dict[str, Any] = {
            "t": defects.nodes,
            "state": np.arange(defects.dynamics.states),
            "part": np.arange(2),
        }
        dims = {"x": ["t", "state"], "parts": ["part"]}
        if "w" in values:
            axes["parameter"] = np.arange(len(defects.dynamics.parameters))
            axes["end"] = defects.ends
            dims["w"] = ["end", "parameter"] if defects.varying else ["parameter"]
        return axes, dims

    def findings(self, values: Values) -> tuple[dict[str, float], dict[str, Table]]:
        """See :class:`Sampling`: of a twin the scores against its truth; bands of the states."""
        assert self._start is not None, "prepare comes first"
        x, metrics = _flat(values), dict[str, float]()
        truth, seen = self.search.series.truth, self.search.paths.observed.matrix
        if truth is not None:
            at_data = np.array([seen @ one for one in x])
            metrics = {f"state_{k}": v for k, v in regression_scores(at_data, 0.0, truth).items()}
            lowest = self.search.paths.path(self._start["path"])[0]
            metrics["state_rmse_lowest"] = float(np.sqrt(np.mean((seen @ lowest - truth) ** 2)))
        bands = [x.mean(axis=0), x.std(axis=0), *(quantile(x, 0.0, p) for p in QUANTILES)]
        names = ["mean", "deviation", *(f"q{100 * p:02.0f}" for p in QUANTILES)]
        head = ["t", *(f"x{i} {name}" for i in range(x.shape[-1]) for name in names)]
        columns = np.stack(bands, axis=-1).reshape(x.shape[1], -1)
        table = np.column_stack([self.search.paths.defects.nodes, columns])
        return metrics, {"predictive.csv": (head, table.tolist())}

    def figures(self, values: Values, thin: int) -> dict[str, Any]:
        """``trace`` of the action, and the ``states`` with their bands."""
        from fem_deepest.figures import posterior as draw  # Matplotlib; see Study.figures
        from fem_deepest.figures.chains import trace

        parts, series = values["parts"].sum(axis=-1), self.search.series
        iterations = np.arange(1, parts.shape[1] + 1) * thin
        return {
            "trace": trace(parts, iterations, "measurement + model", f"$R_f = {self.R_f:g}$"),
            "states": draw.states(self.search.paths.defects.nodes, _flat(values), series),
        }


def _flat(values: Values) -> Array:
    """All draws of the path, (chains draws, m, D)."""
    x = values["x"]
    return x.reshape(-1, *x.shape[2:])


def _read(folder: Path, first: int) -> Batch:
    batch = read_batch(folder / "batches", first)
    if batch is None or batch.rung == 0:
        raise InputError(
            f"{folder} has no finished rung of all starts; finish its run with --resume, or give "
            "posterior.anneal"
        )
    return batch
