"""Configuration of the study of slabs of the depth, :mod:`.slabs`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fem_deepest.configuration.data import Data
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.train import ActionSection
from fem_deepest.studies.study import Check, Count, StudyConfig, StudySection, StudySolve


class SlabsSection(StudySection):
    """``[study]`` of this study; ``values`` are numbers of slabs."""

    name: Literal["slabs"] = Field(description="this study")
    cells: list[Count] = Field(default=[32, 128], min_length=1, description="depth cells")
    R_f: list[Annotated[float, Field(gt=0.0)]] = Field(
        default=[10.0, float("inf")], min_length=1, description="precisions of the model"
    )

    @model_validator(mode="after")
    def _slabs_of_cells(self) -> SlabsSection:
        if self.values[-1] > min(self.cells):
            raise ValueError(
                f"values has {self.values[-1]} slabs, but cells {min(self.cells)}; give each slab a cell"
            )
        if self.values[0] != 1:
            raise ValueError("values must begin with 1 slab, with which the others are compared")
        return self


class SlabsCheck(Check):
    """``[check]`` of this study."""

    tolerance: Annotated[float, Field(gt=0.0)] = Field(
        default=0.1, description="how far the orders of growth may be from zero"
    )
    spread: Annotated[float, Field(ge=1.0)] = Field(
        default=1.5, description="largest ratio to the iterations with one slab, with propagators"
    )


class SlabsSolve(StudySolve):
    """``[solve]``: the training before, up to where Newton's method takes over."""

    polish: bool = Field(default=False, description="Newton to a stationary point afterwards")


class SlabsConfig(StudyConfig):
    """Configuration of :class:`.SlabsStudy`."""

    study: SlabsSection
    data: Data = Data()
    network: NetworkSection = NetworkSection()
    action: ActionSection = ActionSection()
    check: SlabsCheck = SlabsCheck()
    solve: SlabsSolve = SlabsSolve()

    @model_validator(mode="after")
    def _once(self) -> SlabsConfig:
        if "cells" in self.network.model_fields_set or "R_f" in self.action.model_fields_set:
            raise ValueError("network.cells and action.R_f go in study.cells and study.R_f")
        if self.solve.levels != "auto":
            raise ValueError("solve.levels is chosen for each number of cells; remove it")
        return self
