"""Mean-square stability of time schemes: where moments of the test equation fall, exactly or sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from fem_deepest.spde.stability import SCHEMES
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import NORMAL, Factor, Positive, Study, StudyConfig, StudySection
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Scheme = Literal[
    "exact", "forward_euler", "backward_euler", "crank_nicolson", "milstein", "exponential_euler"
]
_ROUNDING = 1e-10  # relative, of a root that is found and of one that is written down
_HALVES = 2.0  # half-widths of 95 % intervals: four standard errors, 1 in 15000
_CLOSED, _MEAN, _HALF = " closed form", " sampled step", " sampled step +-"


class StabilitySection(StudySection):
    """``[study]`` of this study; ``values`` are ``k lambda``."""

    name: Literal["stability"] = Field(description="this study")
    values: list[Positive] = Field(  # type: ignore[assignment]
        default=[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0], description="`k lambda`, increasing"
    )
    mode: Literal["exact", "mc"] = Field(
        default="exact",
        description="exact factors; or beside them one sampled step at each boundary",
    )
    samples: Factor = Field(default=20000, description="samples of that step")
    schemes: list[Scheme] = Field(
        default=list(get_args(Scheme)), min_length=1, description="time schemes"
    )

    @field_validator("schemes")
    @classmethod
    def _different(cls, schemes: list[Scheme]) -> list[Scheme]:
        if len(set(schemes)) < len(schemes):
            raise ValueError(f"{schemes} names a scheme twice; name each once")
        return schemes


class StabilityConfig(StudyConfig):
    """Configuration of :class:`StabilityStudy`."""

    study: StabilitySection


class StabilityStudy(Study):
    """Largest ``sigma^2 / lambda`` at which ``E |X^n|^2`` falls, ``dX = -lambda X dtau + sigma X dbeta``.

    For every ``k lambda`` the root of the factor by which one step multiplies ``E |X|^2``, beside the
    closed form of the region; they must agree to rounding. The mode "mc" takes one step of the schemes of
    :mod:`fem_deepest.spde.schemes` at the boundary, where ``E |X^1|^2 = 1``: the 95 % interval of the mean
    is in the table, and one must be within twice that of the mean.
    See :mod:`fem_deepest.spde.stability`.
    """

    title = "Mean-square stability"
    Config = StabilityConfig
    config: StabilityConfig
    figures_left = ("stability",)
    columns = ()

    def points(self) -> list[dict[str, Any]]:
        """One for each scheme and step."""
        section = self.config.study
        sampled = {}
        if section.mode == "mc":
            sampled = {"seed": self.config.seed, "samples": section.samples}
        return [
            {"scheme": scheme, "k lambda": z, **sampled}
            for z in section.values
            for scheme in section.schemes
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['scheme']}, k lambda = {parameters['k lambda']:g}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``boundary``, ``closed``, and of the sampled step ``mean`` and ``half``. Collective."""
        name, z = parameters["scheme"], parameters["k lambda"]
        scheme = SCHEMES[name]
        y = scheme.boundary(z)
        values = dict[str, ArrayLike](boundary=y, closed=scheme.region(z))
        if "samples" not in parameters or name == "exact" or y == 0.0:
            return values
        # All of noise and spde: imported only where something is drawn.
        from fem_deepest.studies.stability_sampled import squares

        X = squares(name, z, y, parameters["seed"], parameters["samples"], comm)
        half = NORMAL * X.std(ddof=1) / np.sqrt(len(X))
        return {**values, "mean": X.mean(), "half": half}

    def table(self, points: list[Point]) -> Table:
        """For each scheme the boundary found, and its closed form."""
        section = self.config.study
        found = {(p.parameters["scheme"], p.parameters["k lambda"]): p for p in points}
        others = {}
        for scheme in section.schemes:
            names = {"boundary": "", "closed": _CLOSED}
            if section.mode == "mc" and scheme != "exact":
                names |= {"mean": _MEAN, "half": _HALF}
            for value, ending in names.items():
                others[scheme + ending] = np.array(
                    [float(found[scheme, z].values.get(value, np.nan)) for z in section.values]
                )
        seconds = [sum(found[s, z].seconds for s in section.schemes) for z in section.values]
        return Table("k lambda", np.array(section.values), {}, np.array(seconds), others)

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Boundaries that are not those of the closed forms. Not collective."""
        columns = tables["table"].others
        return [*self._boundaries(columns), *self._means(columns)]

    def _boundaries(self, columns: Mapping[str, Array]) -> list[str]:
        return [
            f"{scheme}: the largest stable sigma^2/lambda is {columns[scheme]}, expected "
            f"{columns[scheme + _CLOSED]}"
            for scheme in self.config.study.schemes
            if not np.allclose(columns[scheme], columns[scheme + _CLOSED], rtol=_ROUNDING, atol=0.0)
        ]

    def _means(self, columns: Mapping[str, Array]) -> list[str]:
        found = []
        for name in self.config.study.schemes:
            if name + _MEAN not in columns:
                continue
            off = np.abs(columns[name + _MEAN] - 1.0) / columns[name + _HALF]
            if np.nanmax(off, initial=0.0) > _HALVES:
                found.append(
                    f"{name}: E|X|^2 at the boundary is {columns[name + _MEAN]} after a step, expected 1 "
                    f"within {_HALVES:g} x {columns[name + _HALF]}"
                )
        return found

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """Regions of stability. Not collective."""
        from fem_deepest.figures.stability import stability  # Matplotlib; see Study.figures

        table = tables["table"]
        curves = {
            SCHEMES[name].name: values for name, values in table.others.items() if name in SCHEMES
        }
        return {"stability": stability(table.refined, curves, cls.title)}
