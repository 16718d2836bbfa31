"""Acceptance of function-space samplers against the mesh: which stay, and which fall to zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from fem_deepest.configuration.section import Section
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import (
    NORMAL,
    Count,
    Factor,
    Positive,
    Study,
    StudyConfig,
    StudySection,
)
from fem_deepest.studies.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Name = Literal[
    "pcn",
    "infinity_mala",
    "spde_mala",
    "hmc",
    "random_walk",
    "spde_mala_explicit",
    "spde_mala_implicit",
]
# Steps; those of the kernels that fall to zero are small enough for the coarsest mesh of the demo.
_STEPS: dict[str, float] = {
    "pcn": 0.2,
    "infinity_mala": 0.2,
    "spde_mala": 0.1,
    "hmc": 0.3,
    "random_walk": 0.2,
    "spde_mala_explicit": 1e-4,
    "spde_mala_implicit": 1e-3,
}
_NAMES = {
    "pcn": r"pCN, $\beta = {:g}$",
    "infinity_mala": r"$\infty$-MALA, $\theta=1/2$, $k = {:g}$",
    "spde_mala": r"SPDE-MALA, $\theta=1/2$, $k = {:g}$",
    "hmc": r"HMC, 3 rotations by {:g}",
    "random_walk": r"random walk, $\beta = {:g}$",
    "spde_mala_explicit": r"SPDE-MALA, $\theta=0$, $k = {:g}$",
    "spde_mala_implicit": r"SPDE-MALA, $\theta=1$, $k = {:g}$",
}
_FLAT = ("pcn", "infinity_mala", "spde_mala", "hmc")
_HALF = " +-"


class AcceptanceSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of cells."""

    name: Literal["acceptance"] = Field(description="this study")
    kernels: list[Name] = Field(
        default=list(get_args(Name)), min_length=1, description="kernels at fixed steps"
    )
    chains: Factor = Field(default=32, description="chains")
    relax: Count = Field(default=300, description="iterations of pCN before")
    iterations: Count = Field(default=300, description="iterations whose acceptance is averaged")

    @field_validator("values")
    @classmethod
    def _even(cls, values: list[int]) -> list[int]:
        if values[0] < 2:
            raise ValueError(f"got {values[0]} cells, a bridge needs 2 or more")
        return values


class BridgeSection(Section):
    """``[bridge]``: density ``exp(-1/2 int x'^2 - int (x^2 - 1)^2)`` from -1 to 1."""

    depth: Positive = Field(default=4.0, description="`T`")


class LevelsSection(Section):
    """``[rates]``: what is checked."""

    flat: Positive = Field(default=0.03, description="how far a rate may be from its mean over N")
    known: dict[Name, Positive] = Field(
        default={}, description="published rates, checked to the same tolerance"
    )


class AcceptanceConfig(StudyConfig):
    """Configuration of :class:`AcceptanceStudy`."""

    study: AcceptanceSection
    bridge: BridgeSection = BridgeSection()
    rates: LevelsSection = LevelsSection()


class AcceptanceStudy(Study):
    """Mean acceptance of kernels with a fixed step, on finer and finer meshes.

    Kernels that have a limit in function space (pCN, infinity-MALA and SPDE-MALA with theta = 1/2, HMC)
    must be flat in N; the random walk, and the theta-schemes with 0 and 1, must have less than half of
    their first rate on the finest mesh. A. Beskos, G. Roberts, A. Stuart, J. Voss (2008),
    doi:10.1142/S0219493708002378.
    """

    title = "Acceptance on the double-well bridge"
    Config = AcceptanceConfig
    config: AcceptanceConfig
    figures_left = ("acceptance",)
    columns = ()

    def points(self) -> list[dict[str, Any]]:
        """One for each mesh and kernel."""
        section = self.config.study
        return [
            {
                "kernel": kernel,
                "step": _STEPS[kernel],
                "cells": cells,
                "depth": self.config.bridge.depth,
                "chains": section.chains,
                "relax": section.relax,
                "iterations": section.iterations,
                "seed": self.config.seed,
            }
            for cells in section.values
            for kernel in section.kernels
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['kernel']}, {parameters['cells']} cells"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """``rate`` and the half-width ``half`` of its 95 % interval. Collective."""
        # All of noise and sample: imported only where something is drawn.
        from fem_deepest.sample.bridge import double_well
        from fem_deepest.sample.named import named_kernel
        from fem_deepest.sample.run import Plan, Setting, sample

        p = parameters

        def make() -> Setting:
            target = double_well(p["cells"], p["depth"])
            return Setting(target, lambda: named_kernel(p["kernel"], target, p["step"]), {})

        plan = Plan(
            chains=p["chains"],
            batch=16,
            relax=p["relax"],
            warmup=0,
            draws=p["iterations"],
            seed=p["seed"],
        )
        rates = sample(make, plan, comm).acceptance
        return {"rate": rates.mean(), "half": NORMAL * rates.std(ddof=1) / np.sqrt(rates.size)}

    def table(self, points: list[Point]) -> Table:
        """For each kernel the rate, and the half-width of its interval."""
        section = self.config.study
        found = {(p.parameters["kernel"], p.parameters["cells"]): p for p in points}
        others = {}
        for kernel in section.kernels:
            for value, ending in (("rate", ""), ("half", _HALF)):
                others[kernel + ending] = np.array(
                    [found[kernel, cells][value] for cells in section.values]
                )
        seconds = [
            sum(found[k, cells].seconds for k in section.kernels) for cells in section.values
        ]
        return Table("N", np.array(section.values), {}, np.array(seconds), others)

    def failures(self, tables: Mapping[str, Table]) -> list[str]:
        """Rates that are not flat, not as known, or do not fall. Not collective."""
        columns, checks, failures = tables["table"].others, self.config.rates, list[str]()
        for kernel in self.config.study.kernels:
            rates = columns[kernel]
            if kernel in _FLAT:
                wanted = checks.known.get(kernel, float(rates.mean()))
                if np.abs(rates - wanted).max() > checks.flat:
                    failures.append(
                        f"{kernel}: acceptance {np.round(rates, 3)}, expected {wanted:.3g} within "
                        f"{checks.flat:g} on every mesh"
                    )
            elif rates.size > 1 and rates[-1] > max(0.5 * rates[0], 0.01):
                failures.append(f"{kernel}: acceptance {np.round(rates, 3)}, expected to fall")
        return failures

    @classmethod
    def figures(cls, tables: Mapping[str, Table], last: int) -> dict[str, Figure]:
        """Rates against N. Not collective."""
        from fem_deepest.figures.acceptance import acceptance  # Matplotlib; see Study.figures

        table = tables["table"]
        label = {n: _NAMES[n].format(_STEPS[n]) for n in _NAMES if n in table.others}
        rates = {text: table.others[n] for n, text in label.items()}
        halves = {text: table.others[n + _HALF] for n, text in label.items()}
        flat = [text for n, text in label.items() if n in _FLAT]
        return {"acceptance": acceptance(table.refined, rates, halves, flat, cls.title)}
