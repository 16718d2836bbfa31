"""Depth refinement of the linear weak-constraint problem, against its closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from fem_deepest.configuration.section import Section
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS
from fem_deepest.studies.column import Errors
from fem_deepest.studies.finite_element import finite_element
from fem_deepest.studies.linear import LinearProblem
from fem_deepest.studies.points import Parameters, Point
from fem_deepest.studies.study import Positive, Study, StudyConfig, StudySection
from fem_deepest.studies.table import Table

Method = Literal["P1", "P2", "P3", "euler", "midpoint", "gauss2"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

ENDS = {"natural": (False, False), "input": (True, False), "clamped": (True, True)}


class WeakConstraintSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of depth cells."""

    name: Literal["weak_constraint"] = Field(description="this study")
    values: list[Annotated[int, Field(ge=2)]] = Field(
        default=[4, 8, 16, 32, 64], description="numbers of depth cells, increasing"
    )
    methods: list[Method] = Field(
        default=["P1", "P2", "euler", "midpoint", "gauss2"],
        min_length=1,
        description="finite elements and transcriptions",
    )


class LinearSection(Section):
    """``[problem]``: ``R_f/2 (x' + lambda x)^2 + R_m/2 (x - cos(omega t))^2`` on ``(0, T)``."""

    rate: Finite = Field(default=1.0, alias="lambda", description="rate of decay")
    R_f: Positive = Field(default=1.0, description="precision of the model")
    R_m: Positive = Field(default=4.0, description="precision of the measurements")
    depth: Positive = Field(default=2.0, description="`T`")
    frequency: Finite = Field(default=3.0, description="`omega`")
    ends: Literal["natural", "input", "clamped"] = Field(
        default="natural", description="no end, the left end, or both ends clamped"
    )
    left: Finite = Field(default=1.0, description="`x(0)` where clamped")
    right: Finite = Field(default=0.0, description="`x(T)` where clamped")


class WeakConstraintConfig(StudyConfig):
    """Configuration of :class:`WeakConstraintStudy`."""

    study: WeakConstraintSection
    problem: LinearSection = LinearSection()

    @model_validator(mode="after")
    def _different_methods(self) -> WeakConstraintConfig:
        methods = self.study.methods
        if len(set(methods)) < len(methods):
            raise ValueError(f"study.methods = {methods} names a method twice; name each once")
        return self


class WeakConstraintStudy(Study):
    """Errors of FE discretisations and transcriptions of :class:`LinearProblem`.

    Expected orders in ``h = T/n``, the solution being analytic:

    * P_k with the k-point Gauss rule, whose error does not exceed that of the elements: ``k + 1``
      in L2 and ``k`` in the H1 seminorm (Cea's lemma and duality; G. Strang, G. Fix, An Analysis
      of the Finite Element Method, 1973, chapters 1 and 4).
    * the transcriptions at the ends of the cells, in the maximum norm: that of the one-step method
      whose transpose carries the costate; euler 1, midpoint 2, gauss2 4 (superconvergence of
      collocation at Gauss points; Hairer, Norsett, Wanner, Solving Ordinary Differential Equations
      I, 1993, theorem II.7.9).

    The points are small and every rank computes all of them.
    """

    title = "Linear weak-constraint problem against its closed form"
    Config = WeakConstraintConfig
    config: WeakConstraintConfig

    def __init__(self, config: WeakConstraintConfig) -> None:
        self.config = config
        self._methods: tuple[str, ...] = tuple(config.study.methods)

    @property
    def columns(self) -> tuple[str, ...]:
        """Method and norm."""
        return tuple(f"{m} {norm}" for m in self._methods for norm in _orders(m))

    def points(self) -> list[dict[str, Any]]:
        """One for each number of cells and method."""
        problem = self.config.problem
        left, right = ENDS[problem.ends]
        fixed = problem.model_dump(exclude={"ends", "left", "right"})
        fixed |= {
            "left": problem.left if left else None,
            "right": problem.right if right else None,
        }
        return [
            {"problem": fixed, "cells": cells, "method": method}
            for cells in self.config.study.values
            for method in self._methods
        ]

    def label(self, parameters: Parameters) -> str:
        """What tells a point from others. Not collective."""
        return f"{parameters['method']}, {parameters['cells']} cells"

    def solve(self, parameters: Parameters, comm: MPI.Intracomm) -> Mapping[str, ArrayLike]:
        """Errors ``L2``, ``H1`` and ``ends``. Not collective."""
        problem, method = LinearProblem(**parameters["problem"]), parameters["method"]
        cells = parameters["cells"]
        if method in TRANSCRIPTIONS:
            values = problem.transcribed(TRANSCRIPTIONS[method], cells)
            degree = TRANSCRIPTIONS[method].nodes.size - 1
            nodes = np.linspace(0.0, problem.depth, degree * cells + 1, dtype=np.float64)
        else:
            degree = int(method[1:])
            nodes, values = finite_element(problem, degree, cells)
        return problem.errors(nodes, values, degree)

    def table(self, points: list[Point]) -> Table:
        """Columns ``P1 L2``, ``P1 H1``, ..., and ``euler ends``, ..."""
        cells = self.config.study.values
        found = {(p.parameters["cells"], p.parameters["method"]): p for p in points}
        errors = {}
        for method in self._methods:
            for norm, order in _orders(method).items():
                values = np.array([found[n, method][norm] for n in cells])
                errors[f"{method} {norm}"] = Errors(values, order)
        seconds = [sum(found[n, method].seconds for method in self._methods) for n in cells]
        return Table("depth cells n", np.array(cells), errors, np.array(seconds))


def _orders(method: str) -> dict[str, float]:
    """Norms in which a method is measured, with the order expected."""
    if method in TRANSCRIPTIONS:
        return {"ends": float(TRANSCRIPTIONS[method].order)}
    degree = int(method[1:])
    return {"L2": degree + 1.0, "H1": float(degree)}
