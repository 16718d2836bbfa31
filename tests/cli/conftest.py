"""What the tests of the command share: a small configuration, and the command in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from launch import TINY
from mpi4py import MPI


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests start their own ranks; on several they would write over one another's files."""
    if MPI.COMM_WORLD.size > 1:
        skip = pytest.mark.skip(reason="starts mpirun itself; run it on one rank")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


class Ended(NamedTuple):
    """How the command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command, run in this process."""
    import fem_deepest.cli.main as module

    def run(*words: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            module.main([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A configuration that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
