"""Studies by name: from a configuration to the study it asks for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fem_deepest.configuration.section import read, validate
from fem_deepest.errors import InputError
from fem_deepest.studies.acceptance import AcceptanceStudy
from fem_deepest.studies.contests.contours import ContoursStudy
from fem_deepest.studies.contests.lorenz96 import LorenzStudy
from fem_deepest.studies.contests.networks import NetworkContestStudy
from fem_deepest.studies.contests.twin import TwinContestStudy
from fem_deepest.studies.contests.wells import WellsStudy
from fem_deepest.studies.depth import DepthStudy
from fem_deepest.studies.escape import EscapeStudy
from fem_deepest.studies.heat import HeatStrongStudy, HeatWeakStudy
from fem_deepest.studies.iterations import IterationsStudy
from fem_deepest.studies.multilevel import MultilevelStudy
from fem_deepest.studies.neurons import NeuronsStudy
from fem_deepest.studies.samples import SamplesStudy
from fem_deepest.studies.sgd import SgdStrongStudy
from fem_deepest.studies.slabs import SlabsStudy
from fem_deepest.studies.stability import StabilityStudy
from fem_deepest.studies.study import Study, StudyConfig
from fem_deepest.studies.weak_constraint import WeakConstraintStudy

# A study reads its own sections, so its name is looked up before anything else is validated.
STUDIES: dict[str, type[Study]] = {
    "weak_constraint": WeakConstraintStudy,
    "depth": DepthStudy,
    "neurons": NeuronsStudy,
    "iterations": IterationsStudy,
    "slabs": SlabsStudy,
    "samples": SamplesStudy,
    "heat_strong": HeatStrongStudy,
    "heat_weak": HeatWeakStudy,
    "stability": StabilityStudy,
    "multilevel": MultilevelStudy,
    "acceptance": AcceptanceStudy,
    "sgd_strong": SgdStrongStudy,
    "escape": EscapeStudy,
    "compare_wells": WellsStudy,
    "compare_lorenz96": LorenzStudy,
    "compare_contours": ContoursStudy,
    "compare_networks": NetworkContestStudy,
    "compare_twin": TwinContestStudy,
}


def load_study(
    source: str | Path | Mapping[str, Any] | StudyConfig, settings: Iterable[str] = ()
) -> Study:
    """The study of a configuration.

    Args:
        source: TOML file, or a mapping of the same shape, or a configuration.
        settings: Overrides ``section.key=value``.

    Raises:
        InputError: As :func:`fem_deepest.configuration.train.load`; there is no study of that name; or
            what it reads (data, sizes of a network) is not right.

    Not collective.
    """
    values = read(source, settings)
    section = values.get("study")
    name = section.get("name") if isinstance(section, Mapping) else None
    if name not in STUDIES:
        known = ", ".join(STUDIES)
        if not isinstance(name, str):
            raise InputError(f"study.name is missing or no name; give one of {known}")
        near = difflib.get_close_matches(name, STUDIES, n=1, cutoff=0.0)[0]
        raise InputError(f"there is no study '{name}'; did you mean '{near}'? Known: {known}")
    study = STUDIES[name](validate(STUDIES[name].Config, values))
    for column in study.config.check.caps:
        if column not in study.columns:
            raise InputError(
                f"check.caps names '{column}', but the errors of this study are "
                f"{', '.join(study.columns)}"
            )
    return study
