"""Make every .msh of this folder again from its .geo: docker/run python meshes/make.py."""

from __future__ import annotations

from pathlib import Path

import gmsh

HERE = Path(__file__).parent


def make(source: Path) -> Path:
    """The mesh of a geometry, beside it; returns its path."""
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.MshFileVersion", 4.1)
        gmsh.open(str(source))
        gmsh.model.mesh.generate(gmsh.model.getDimension())
        path = source.with_suffix(".msh")
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


if __name__ == "__main__":
    for geometry in sorted(HERE.glob("*.geo")):
        print(make(geometry))
