"""Multilevel Monte Carlo for the stochastic heat equation: rates of the levels, work to a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest.spde.levels import LevelSamples, consistency, draw
from fem_deepest.spde.modal import ModalHeat
from fem_deepest.spde.multilevel import SHARE, multilevel
from fem_deepest.studies.column import Errors
from fem_deepest.studies.heat_levels import HeatSampler, Hierarchy
from fem_deepest.studies.level_columns import (
    MEAN,
    VARIANCE,
    WORK,
    differences,
    no_difference,
    whole,
)
from fem_deepest.studies.multilevel_config import MultilevelConfig
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import NORMAL, Study
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_RUN, _TEST = 0, 64  # first streams of the noise
_STRAY = 4.0  # tolerances that an estimate may be off: of deviation and bias together, 1 in 15000
MULTILEVEL, SINGLE = "multilevel work", "single-level work"


class MultilevelStudy(Study):
    """Work of multilevel Monte Carlo against Monte Carlo on the finest level alone.

    In one dimension with ``k ~ h^2`` work grows like ``eps^{-1 - 3/(2 beta)}`` up to ``beta = 1``, one
    power of ``eps`` below that of a single level: white noise ``eps^-4`` against ``eps^-5`` (Barth, Lang,
    Schwab 2013, doi:10.1007/s10543-012-0401-5; :mod:`fem_deepest.studies.heat_levels`). The exponents
    of the levels are taken from there where levels are added, and measured beside it. The tables:

    * ``table``: for each tolerance both works, levels, numbers of samples, the estimate and its error
      against the exact expectation;
    * ``levels``: mean, variance and kurtosis of the differences, with 95 % intervals where sampled,
      beside the exact ones, and the check that levels telescope.
    """

    title = "Multilevel Monte Carlo"
    Config = MultilevelConfig
    config: MultilevelConfig
    tables_left = ("table", "levels")
    figures_left = ("multilevel",)
    columns = (MULTILEVEL, SINGLE)

    def points(self) -> list[dict[str, Any]]:
        """One for each level that is tested, and one for each tolerance."""
        config = self.config
        problem, levels = config.problem, config.levels
        white = problem.beta == 0.5
        shared = {
            "equation": {
                "a": problem.beta - 0.5,
                "modes": None if white else problem.modes,
                **problem.model_dump(include={"T", "nu", "c"}),
            },
            "levels": {
                "quantity": config.study.quantity,
                **levels.model_dump(include={"cells", "steps"}),
            },
            "mode": config.study.mode,
        }
        sampled = {"seed": config.seed} if config.study.mode == "mlmc" else {}
        tests = {"samples": levels.samples, **sampled} if sampled else {}
        runs = {"most": levels.most, **({"initial": levels.initial, **sampled} if sampled else {})}
        return [
            *({**shared, **tests, "level": level} for level in range(levels.tested + 1)),
            *({**shared, **runs, "tolerance": tolerance} for tolerance in config.study.values),
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        if "level" in parameters:
            return f"level {parameters['level']}"
        return f"tolerance {parameters['tolerance']:g}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Samples of a level, or an estimate to a tolerance. Collective."""
        hierarchy = Hierarchy(ModalHeat(**parameters["equation"]), **parameters["levels"])
        exact = parameters["mode"] == "exact"
        if "level" in parameters:
            level = parameters["level"]
            values = dict[str, ArrayLike](
                value=hierarchy.value(level), difference=hierarchy.difference(level)
            )
            if not exact:
                sampler = HeatSampler(hierarchy, parameters["seed"], _TEST)
                found = draw(sampler, level, range(parameters["samples"]), comm)
                values |= {"fine": found.fine, "coarse": found.coarse}
            return values
        if exact:
            return _optimum(hierarchy, parameters["tolerance"], parameters["most"])
        estimate = multilevel(
            HeatSampler(hierarchy, parameters["seed"], _RUN),
            parameters["tolerance"],
            comm,
            initial=parameters["initial"],
            most=parameters["most"],
            known=hierarchy.rates,
        )
        return {
            "estimate": estimate.value,
            "deviation": estimate.deviation,
            "bias": estimate.bias,
            "numbers": estimate.numbers,
            "work": estimate.work,
            "single": estimate.single_work,
            "converged": estimate.converged,
            "limit": hierarchy.limit,
        }

    def table(self, points: list[Point]) -> Table:
        """Work and estimate for each tolerance."""
        runs = [p for p in points if "tolerance" in p.parameters]
        rates = self._hierarchy.rates
        work, single = (np.array([p[name] for p in runs]) for name in ("work", "single"))
        others = {
            "speed-up": single / work,
            "finest level": [len(p.values["numbers"]) - 1 for p in runs],
        }
        for name in ("estimate", "deviation", "bias"):
            others[name] = [p[name] for p in runs]
        if self.config.study.mode == "mlmc":
            others["estimate +-"] = [NORMAL * p["deviation"] for p in runs]
        others["error"] = [abs(p["estimate"] - p["limit"]) for p in runs]
        for level in range(max(len(p.values["numbers"]) for p in runs)):
            others[f"samples on level {level}"] = [
                p.values["numbers"][level] if level < len(p.values["numbers"]) else np.nan
                for p in runs
            ]
        errors = {
            MULTILEVEL: Errors(work, -rates.complexity),
            SINGLE: Errors(single, -rates.single),
        }
        seconds = np.array([p.seconds for p in runs])
        columns = {name: np.array(values, dtype=np.float64) for name, values in others.items()}
        return Table("tolerance", np.array(self.config.study.values), errors, seconds, columns)

    def further(self, points: list[Point]) -> dict[str, Table]:
        """The table of the levels."""
        tests = [p for p in points if "level" in p.parameters]
        hierarchy = self._hierarchy
        rates = hierarchy.rates
        exact = np.array([p.values["difference"] for p in tests])
        values = np.array([p.values["value"] for p in tests])
        work = np.array([hierarchy.work(level) for level in range(len(tests))])
        errors = {
            MEAN: Errors(no_difference(np.abs(exact[:, 0])), rates.alpha),
            VARIANCE: Errors(no_difference(exact[:, 1]), rates.beta),
            WORK: Errors(work, -rates.gamma),
        }
        others = {"mean": values[:, 0], "variance": values[:, 1]}
        if "fine" in tests[0].values:
            levels = [LevelSamples(p.values["fine"], p.values["coarse"]) for p in tests]
            errors |= differences(levels, rates.alpha, rates.beta)
            others = {
                **whole(levels),
                "kurtosis": np.array([level.difference.kurtosis for level in levels]),
                "consistency": np.array(
                    [0.0, *map(consistency, levels[:-1], levels[1:])], dtype=np.float64
                ),
                "seconds of a sample": np.array(
                    [p.seconds / len(p.values["fine"]) for p in tests], dtype=np.float64
                ),
                "exact mean of difference": np.abs(exact[:, 0]),
                "exact variance of difference": exact[:, 1],
            }
        cells = np.array([hierarchy.size(level)[0] for level in range(len(tests))])
        seconds = np.array([p.seconds for p in tests])
        return {"levels": Table("cells N", cells, errors, seconds, others)}

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Orders of work and of the levels, telescoping, errors and gain. Not collective."""
        check, found = self.config.check, super().failures(tables)
        table, levels = tables["table"], tables["levels"]
        found += levels.check(check.tolerance, last=check.last)
        worst = float(levels.others.get("consistency", np.zeros(1)).max())
        if worst > 1.0:
            found.append(f"the levels do not telescope: consistency {worst:.3g}, expected below 1")
        for tolerance, error in zip(table.refined, table.others["error"], strict=True):
            if error > _STRAY * tolerance:
                found.append(
                    f"the estimate to {tolerance:g} is off by {error:.3g}, more than {_STRAY:g} tolerances"
                )
        gain = float(table.others["speed-up"][-1])
        if check.speed_up is not None and gain < check.speed_up:
            found.append(
                f"the gain over one level is {gain:.3g}, expected {check.speed_up:g} or more"
            )
        return found

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """Giles' four panels. Not collective."""
        from fem_deepest.figures.multilevel import multilevel as panels  # Matplotlib

        return {"multilevel": panels(tables["table"], tables["levels"], cls.title)}

    @property
    def _hierarchy(self) -> Hierarchy:
        parameters = self.points()[0]
        return Hierarchy(ModalHeat(**parameters["equation"]), **parameters["levels"])


def _optimum(hierarchy: Hierarchy, tolerance: float, most: int) -> dict[str, ArrayLike]:
    """Levels and numbers that multilevel Monte Carlo would take if it knew all moments."""
    bias, finest = np.inf, 1
    while bias > np.sqrt(SHARE) * tolerance and finest < most:
        finest += 1
        bias = abs(hierarchy.value(finest).mean - hierarchy.limit)
    work = np.array([hierarchy.work(level) for level in range(finest + 1)])
    costs = work + np.concatenate([[0.0], work[:-1]])
    V = np.array([hierarchy.difference(level).variance for level in range(finest + 1)])
    share = (1.0 - SHARE) * tolerance**2
    numbers = np.sum(np.sqrt(V * costs)) * np.sqrt(V / costs) / share
    value = hierarchy.value(finest)
    return {
        "estimate": value.mean,
        "deviation": np.sqrt(share),
        "bias": bias,
        "numbers": numbers,
        "work": numbers @ costs,
        "single": value.variance * work[-1] / share,
        "converged": bool(bias <= np.sqrt(SHARE) * tolerance),
        "limit": hierarchy.limit,
    }
