"""Mean-square stability of time schemes: where moments of the test equation fall, exactly or sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from fem_deepest.spde.stability import SCHEMES
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Positive, Study, StudyConfig, StudySection
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scheme = Literal[
    "exact", "forward_euler", "backward_euler", "crank_nicolson", "milstein", "exponential_euler"
]
_ROUNDING = 1e-10  # relative, of a root that is found and of one that is written down
_CLOSED = " closed form"


class StabilitySection(StudySection):
    """``[study]`` of this study; ``values`` are ``k lambda``."""

    name: Literal["stability"] = Field(description="this study")
    values: list[Positive] = Field(  # type: ignore[assignment]
        default=[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0], description="`k lambda`, increasing"
    )
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
    closed form of the region; they must agree to rounding.
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
        return [
            {"scheme": scheme, "k lambda": z} for z in section.values for scheme in section.schemes
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['scheme']}, k lambda = {parameters['k lambda']:g}"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``boundary`` and ``closed``; every rank computes them. Not collective."""
        scheme, z = SCHEMES[parameters["scheme"]], parameters["k lambda"]
        return {"boundary": scheme.boundary(z), "closed": scheme.region(z)}

    def table(self, points: list[Point]) -> Table:
        """For each scheme the boundary found, and its closed form."""
        section = self.config.study
        found = {(p.parameters["scheme"], p.parameters["k lambda"]): p for p in points}
        others = {}
        for scheme in section.schemes:
            for name, value in ((scheme, "boundary"), (scheme + _CLOSED, "closed")):
                others[name] = np.array([found[scheme, z][value] for z in section.values])
        seconds = [sum(found[s, z].seconds for s in section.schemes) for z in section.values]
        return Table("k lambda", np.array(section.values), {}, np.array(seconds), others)

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Boundaries that are not those of the closed forms. Not collective."""
        columns = tables["table"].others
        return [
            f"{scheme}: the largest stable sigma^2/lambda is {columns[scheme]}, expected "
            f"{columns[scheme + _CLOSED]}"
            for scheme in self.config.study.schemes
            if not np.allclose(columns[scheme], columns[scheme + _CLOSED], rtol=_ROUNDING, atol=0.0)
        ]

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """Regions of stability. Not collective."""
        from fem_deepest.figures.stability import stability  # Matplotlib; see Study.figures

        table = tables["table"]
        curves = {
            SCHEMES[name].name: values
            for name, values in table.others.items()
            if not name.endswith(_CLOSED)
        }
        return {"stability": stability(table.refined, curves, cls.title)}
