"""The README of the demos agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.configuration.contour import ContourConfig
from fem_deepest.configuration.flow import FlowConfig, TimeSection
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.sample import PosteriorConfig, SampleConfig
from fem_deepest.configuration.section import Section, reference
from fem_deepest.runs.flow import SCHEMES
from fem_deepest.studies.comparison import ComparisonConfig

DEMOS = Path(__file__).parents[1] / "demos"
README = (DEMOS / "README.md").read_text()


def between(mark: str) -> str:
    return README.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0].strip()


ROWS = {
    cells[0]: cells[1:]
    for cells in (
        [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
        for line in between("schemes").splitlines()[2:]
    )
}


@pytest.mark.parametrize(
    "mark, model",
    [
        ("flow keys", FlowConfig),
        ("contour keys", ContourConfig),
        ("annealed flow keys", AnnealedFlowConfig),
        ("anneal keys", AnnealConfig),
        ("network anneal keys", NetworkAnnealConfig),
        ("sample keys", SampleConfig),
        ("comparison keys", ComparisonConfig),
        ("posterior keys", PosteriorConfig),
    ],
)
def test_tables_of_keys_are_those_of_the_configurations(mark: str, model: type[Section]) -> None:
    assert between(mark) == reference(model)


def test_every_scheme_has_a_row() -> None:
    names = get_args(TimeSection.model_fields["scheme"].annotation)
    assert set(ROWS) == set(names) == set(SCHEMES)


def scheme(name: str, additive: bool):
    """A scheme that knows of its problem only whether the noise is additive."""
    problem = SimpleNamespace(additive=additive, G=None, symmetric=True, f=None)
    return SCHEMES[name](problem)


@pytest.mark.parametrize("name", SCHEMES)
def test_orders_are_those_that_the_schemes_declare(name: str) -> None:
    columns = [(True, "strong"), (False, "strong"), (True, "weak"), (False, "weak")]
    assert ROWS[name][0].split("(")[0] == type(scheme(name, True)).__name__
    for text, (additive, kind) in zip(ROWS[name][2:6], columns, strict=True):
        declared = getattr(scheme(name, additive), f"{kind}_order")
        for beta in (0.3, 0.5, 0.9, 1.0, 1.4, 2.0, 2.5, 5.0):
            assert declared(beta) == eval(text, {"min": min, "beta": beta}), (text, beta)


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_are_stable_where_it_says(name: str) -> None:
    for lam in (0.5, 1.0, 3.0):
        for k in (0.01, 0.3, 2.0):
            for sigma in np.linspace(0.05, 4.0, 40):
                values = {"lam": lam, "k": k, "sigma": sigma, "exp": np.exp}
                stable = scheme(name, False).mean_square(lam, sigma, k) < 1.0
                assert stable == eval(ROWS[name][6], values), (lam, k, sigma)


def test_files_it_names_exist() -> None:
    for name in re.findall(r"`([\w*]+\.(?:toml|py))`", README):
        assert list(DEMOS.glob(name)), name


def test_every_demo_is_named() -> None:
    patterns = re.findall(r"`([\w*]+\.(?:toml|py))`", README)
    named = {path for pattern in patterns for path in DEMOS.glob(pattern)}
    # A script beside a configuration of another name is part of it.
    for path in (*DEMOS.glob("*.toml"), *DEMOS.glob("*.py")):
        beside = [p for p in DEMOS.glob("*.toml") if path.name in p.read_text()]
        assert path in named or beside, path.name
