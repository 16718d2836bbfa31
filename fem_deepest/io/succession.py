"""How a new checkpoint takes the place of the old one, which is kept: one of the two is always there.

``NAME.h5`` is the newest, ``NAME.previous.h5`` the one before. A process may be killed between any two
calls in here, at the next start one of these is a whole checkpoint.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def partial(path: Path) -> Path:
    """Where a checkpoint is written."""
    return path.with_name(path.name + ".part")


def previous(path: Path) -> Path:
    """Where the one before is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def damaged(path: Path) -> Path:
    """Where a newest one goes that turned out to be damaged."""
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def succeed(path: Path) -> None:
    """Let the partial file, whole and on disk, be the newest checkpoint; the newest is now the previous.

    Not collective.
    """
    if path.exists():
        _second_name(path, previous(path))
    os.replace(partial(path), path)
    _keep_names(path.parent)


def step_back(path: Path) -> None:
    """Let the previous checkpoint be the newest in the place of a damaged one, which is put aside.

    The next checkpoint must not make a damaged one the previous. Not collective.
    """
    if path.exists():
        os.replace(path, damaged(path))
    _second_name(previous(path), path)
    _keep_names(path.parent)


def forget(path: Path) -> None:
    """Remove a checkpoint, the newest at last, and all that belongs to it. Not collective."""
    for stale in (damaged(path), previous(path), partial(previous(path))):
        stale.unlink(missing_ok=True)
    for stale in (partial(path), path):
        stale.unlink(missing_ok=True)


def _second_name(path: Path, name: Path) -> None:
    """Give a file a second name, in the place of what has it; where files have one name only, move it."""
    link = partial(name)
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, name)
        return
    os.replace(link, name)
    # A rename between two names of the same file does nothing at all.
    link.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
