"""The README agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fem_deepest.configuration.section import reference
from fem_deepest.configuration.train import Config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_table_of_keys_is_that_of_the_configuration() -> None:
    table = README.split("<!-- keys -->")[1].split("<!-- /keys -->")[0].strip()
    assert table == reference(Config), "put the output of reference(Config) there"


def test_python_it_shows_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks that stand alone; the numbers are those of a bridge between two wells."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    for block in (b for b in blocks if "import ufl" in b):
        exec(block, names)
    assert names["pendulum"].parameters == ("g",)
    assert "A = 4.12" in capsys.readouterr().out


def test_files_it_names_exist() -> None:
    names = set(re.findall(r"(?:demos|docker|tests)/[\w./]+", README))
    missing = [n for n in names if not (ROOT / n.rstrip(".")).exists()]
    assert not missing


def test_commands_it_shows_are_verbs() -> None:
    from typer.main import get_command

    from fem_deepest.cli.main import app

    verbs = set(re.findall(r"fem-deepest ([a-z]+)", README))
    assert verbs <= set(get_command(app).commands), verbs  # type: ignore[attr-defined]
    assert {"train", "anneal", "study", "flow", "sample", "predict", "plot", "info"} <= verbs
