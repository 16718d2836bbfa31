"""The meshes of meshes/ are what their sources make of them."""

from __future__ import annotations

import importlib.util
import math
import shutil
from pathlib import Path

import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from fem_deepest.spaces.domain import read_domain

MESHES = Path(__file__).parents[2] / "meshes"
# The boundary of the disc is a polygon of n = 105 sides: (n/2) sin(2 pi/n) / 4 of area.
AREAS = {"disc": math.pi / 4.0, "square": 1.0}


def area(path: Path) -> tuple[float, int]:
    """Area and number of cells."""
    domain = read_domain(MPI.COMM_SELF, path)
    assert domain.geometry.dim == 2
    one = fem.Constant(domain, 1.0)
    return fem.assemble_scalar(fem.form(one * ufl.dx)), domain.topology.index_map(2).size_global


@pytest.mark.parametrize("name", AREAS)
def test_mesh_is_that_of_its_source(name: str, tmp_path: Path) -> None:
    pytest.importorskip("gmsh")
    value, cells = area(MESHES / f"{name}.msh")
    assert value == pytest.approx(AREAS[name], rel=1e-3)
    spec = importlib.util.spec_from_file_location("make", MESHES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    source = Path(shutil.copy(MESHES / f"{name}.geo", tmp_path))
    again, count = area(maker.make(source))
    assert again == pytest.approx(value, rel=1e-3)
    # Another Gmsh may mesh the disc a little differently.
    assert count == pytest.approx(cells, rel=0.1)


def test_every_mesh_has_its_source_and_is_in_the_readme() -> None:
    text = (MESHES / "README.md").read_text()
    sources = {path.stem for path in MESHES.glob("*.geo")}
    assert sources == {path.stem for path in MESHES.glob("*.msh")} == set(AREAS)
    for name in sources:
        assert f"`{name}.msh`" in text
