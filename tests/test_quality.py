"""Lint, format and types of the whole project."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "lint": ["ruff", "check", "fem_deepest", "tests", "demos"],
    "format": ["ruff", "format", "--check", "fem_deepest", "tests", "demos"],
    "types": ["mypy", "fem_deepest"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_clean(name: str) -> None:
    command = COMMANDS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
