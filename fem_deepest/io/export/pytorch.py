"""An ordinary network for PyTorch: a module of its own and the NumPy archive that it loads.

Neither writing nor the module needs this package, and writing does not need PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from fem_deepest.io.export.npz import npz_files
from fem_deepest.io.export.ordinary import OrdinaryNetwork

SUFFIX = ".py"


def torch_files(network: OrdinaryNetwork, path: Path) -> list[tuple[Path, bytes]]:
    """The archive beside ``path``, and the module. Not collective."""
    source = Path(__file__).with_name("standalone.py").read_bytes()
    return [*npz_files(network, path.with_suffix(".npz")), (path, source)]
