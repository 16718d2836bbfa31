"""The meshes of meshes/ are what their sources make of them."""

from __future__ import annotations

import importlib.util
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, io, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spaces.domain import read_domain

MESHES = Path(__file__).parents[2] / "meshes"
# The boundary of the disc is a polygon of n = 105 sides: (n/2) sin(2 pi/n) / 4 of area.
MEASURES = {"depth": 4.0, "disc": math.pi / 4.0, "pixels": 1.0, "square": 1.0}


def measure(path: Path) -> tuple[float, int]:
    """Length or area, and number of cells."""
    domain = read_domain(MPI.COMM_SELF, path)
    dimension = domain.topology.dim
    assert domain.geometry.dim == dimension
    one = fem.Constant(domain, 1.0)
    cells = domain.topology.index_map(dimension).size_global
    return fem.assemble_scalar(fem.form(one * ufl.dx)), cells


@pytest.mark.parametrize("name", MEASURES)
def test_mesh_is_that_of_its_source(name: str, tmp_path: Path) -> None:
    pytest.importorskip("gmsh")
    value, cells = measure(MESHES / f"{name}.msh")
    assert value == pytest.approx(MEASURES[name], rel=1e-3)
    spec = importlib.util.spec_from_file_location("make", MESHES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    source = Path(shutil.copy(MESHES / f"{name}.geo", tmp_path))
    again, count = measure(maker.make(source))
    assert again == pytest.approx(value, rel=1e-3)
    # Another Gmsh may mesh the disc a little differently.
    assert count == pytest.approx(cells, rel=0.1)


def test_every_mesh_has_its_source_and_is_in_the_readme() -> None:
    text = (MESHES / "README.md").read_text()
    sources = {path.stem for path in MESHES.glob("*.geo")}
    assert sources == {path.stem for path in MESHES.glob("*.msh")} == set(MEASURES)
    for name in sources:
        assert f"`{name}.msh`" in text


def test_depth_grows_by_a_tenth_from_cell_to_cell() -> None:
    domain = read_domain(MPI.COMM_SELF, MESHES / "depth.msh")
    steps = np.diff(np.sort(domain.geometry.x[:, 0]))
    assert steps.size == 24
    np.testing.assert_allclose(steps[1:] / steps[:-1], 1.1, rtol=1e-6)


def test_pixels_are_cells_of_the_grid() -> None:
    domain = read_domain(MPI.COMM_SELF, MESHES / "pixels.msh")
    x = 8.0 * domain.geometry.x[:, :2]
    np.testing.assert_allclose(x, np.rint(x), atol=1e-9)
    assert len(x) == 81
    assert domain.topology.index_map(2).size_global == 128


def test_files_without_a_mesh_are_refused(tmp_path: Path) -> None:
    empty, lonely = tmp_path / "empty.xdmf", tmp_path / "lonely.xdmf"
    empty.touch()
    with io.XDMFFile(MPI.COMM_SELF, lonely, "w") as file:
        file.write_mesh(mesh.create_unit_square(MPI.COMM_SELF, 3, 2))
    assert measure(lonely) == (pytest.approx(1.0), 12)
    lonely.with_suffix(".h5").unlink()
    for path in (empty, lonely):
        with pytest.raises(InputError, match=path.name):
            read_domain(MPI.COMM_SELF, path)
