"""The verb ``flow``: right against closed forms, resumed, read back, and clear about wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import io, mesh
from mpi4py import MPI

import fem_deepest
from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.figures.flow import along
from fem_deepest.io.frames import read_frames
from fem_deepest.io.rundir import RunDirectory

QUIET = {"figures": False, "frames": 4}

COSINE = """
import numpy as np

def initial(x):
    return np.cos(np.pi * x[0])
"""


def config(**sections: Any) -> dict[str, Any]:
    """Allen-Cahn on a small square with Matern noise, sections replaced."""
    values: dict[str, Any] = {
        "seed": 3,
        "mesh": {"domain": "rectangle", "cells": 8},
        "equation": {"name": "allen_cahn", "diffusion": 0.01},
        "noise": {"covariance": "matern", "strength": 0.3, "length": 0.3},
        "time": {"scheme": "imex", "T": 1.0, "steps": 10},
        "output": dict(QUIET),
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return values


def test_heat_without_noise_decays_like_its_mode(tmp_path: Path) -> None:
    (tmp_path / "cosine.py").write_text(COSINE)
    n, steps, T = 32, 64, 0.2
    run = fem_deepest.flow(
        config(
            mesh={"domain": "interval", "cells": n},
            equation={"name": "file", "path": str(tmp_path / "cosine.py"), "diffusion": 1.0},
            noise={"covariance": "none"},
            time={"scheme": "crank_nicolson", "T": T, "steps": steps},
        ),
        out=tmp_path / "run",
    )
    # P1 on a uniform mesh: cos(pi x) is an eigenvector, its eigenvalue is known.
    c = np.cos(np.pi / n)
    lam, k = 6.0 * n**2 * (1.0 - c) / (2.0 + c), T / steps
    factor = ((1.0 - 0.5 * k * lam) / (1.0 + 0.5 * k * lam)) ** steps
    assert run.status == "converged" and run.time == T
    assert abs(run.metrics["max"] - factor) < 1e-12
    # The L2 norm of the P1 interpolant: sum of the mass matrix.
    exact = factor * np.sqrt(0.5 * (2.0 + c) / 3.0)
    assert abs(run.metrics["norm"] - exact) < 1e-12


def test_a_ring_keeps_its_modes(tmp_path: Path) -> None:
    (tmp_path / "wave.py").write_text(
        "import numpy as np\ndef initial(x):\n    return np.sin(np.pi * x[0] + 0.3)\n"
    )
    n, steps, T, L = 32, 16, 0.1, 2.0
    run = fem_deepest.flow(
        config(
            mesh={"domain": "interval", "cells": n, "size": [L], "boundary": "periodic"},
            equation={"name": "file", "path": str(tmp_path / "wave.py"), "diffusion": 1.0},
            noise={"covariance": "none"},
            time={"scheme": "euler_maruyama", "T": T, "steps": steps},
        ),
        out=tmp_path / "run",
    )
    c, h = np.cos(2.0 * np.pi / n), L / n
    lam = 6.0 / h**2 * (1.0 - c) / (2.0 + c)
    factor = (1.0 + T / steps * lam) ** -steps
    s, u = along(read_frames(run.directory / "fields")[-1])
    assert np.abs(u - factor * np.sin(np.pi * s + 0.3)).max() < 1e-12
    assert [p.name for p in fem_deepest.plot(run.directory)][1] == "snapshots.png"


def test_a_mesh_of_a_file_is_read(tmp_path: Path) -> None:
    import gmsh

    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.occ.addDisk(0.0, 0.0, 0.0, 1.0, 1.0)
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(2, [1])
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.3)
    gmsh.model.mesh.generate(2)
    gmsh.write(str(tmp_path / "disc.msh"))
    gmsh.finalize()
    mesh = {"domain": "file", "path": str(tmp_path / "disc.msh")}
    values = config(mesh=mesh)
    del values["mesh"]["cells"]
    run = fem_deepest.flow(values, out=tmp_path / "run")
    domain = run.u.function_space.mesh
    assert domain.geometry.dim == 2
    assert abs(np.linalg.norm(domain.geometry.x, axis=1).max() - 1.0) < 1e-9
    # The same mesh, written and read as XDMF, bears the same path: keys are those of the coordinates.
    from dolfinx import io

    with io.XDMFFile(domain.comm, tmp_path / "disc.xdmf", "w") as file:
        file.write_mesh(domain)
    values["mesh"]["path"] = str(tmp_path / "disc.xdmf")
    again = fem_deepest.flow(values, out=tmp_path / "again")
    for name in ("mean", "norm", "energy", "min", "max"):
        assert abs(run.metrics[name] - again.metrics[name]) < 1e-11


def test_free_energy_falls_without_noise(tmp_path: Path) -> None:
    run = fem_deepest.flow(
        config(
            noise={"covariance": "none"},
            equation={"initial": 0.3},
            time={"scheme": "implicit", "T": 3.0, "steps": 20},
        ),
        out=tmp_path / "run",
    )
    from fem_deepest.cli.flow import COLUMNS

    history = RunDirectory(run.directory, run.u.function_space.mesh.comm, COLUMNS).history()
    assert (np.diff(history["energy"]) < 0.0).all()
    # A constant stays constant: implicit Euler of u' = u - u^3 by its own Newton iteration.
    u, k = 0.3, 3.0 / 20
    for _ in range(20):
        v = u
        for _ in range(50):
            v -= (v - u - k * (v - v**3)) / (1.0 - k * (1.0 - 3.0 * v**2))
        u = v
    assert abs(run.metrics["mean"] - u) < 1e-7
    assert abs(history["energy"][-1] - 0.25 * (u**2 - 1.0) ** 2) < 1e-7


def test_a_resumed_run_ends_at_the_same_state(tmp_path: Path) -> None:
    whole = fem_deepest.flow(config(), out=tmp_path / "whole")
    options = PETSc.Options()
    options["ts_max_steps"] = 4
    try:
        part = fem_deepest.flow(config(), out=tmp_path / "part")
    finally:
        options.delValue("ts_max_steps")
    assert part.status == "interrupted" and part.steps == 4
    rest = fem_deepest.flow(config(), out=tmp_path / "part", resume=True)
    assert rest.status == "converged"
    assert np.array_equal(rest.u.x.array, whole.u.x.array)
    for name in ("step", "time", "mean", "norm", "energy", "min", "max"):
        columns = [
            np.genfromtxt(tmp_path / d / "history.csv", delimiter=",", names=True)[name]
            for d in ("whole", "part")
        ]
        assert np.array_equal(*columns)
    names = [sorted(p.name for p in (tmp_path / d / "fields").iterdir()) for d in ("whole", "part")]
    assert names[0] == names[1]


@pytest.mark.parametrize("cell", ["simplex", "tensor"])
@pytest.mark.parametrize("degree", [1, 2])
def test_frames_hold_the_states(tmp_path: Path, cell: str, degree: int) -> None:
    run = fem_deepest.flow(
        config(mesh={"cell": cell, "degree": degree}, time={"steps": 8}), out=tmp_path / "run"
    )
    frames = read_frames(run.directory / "fields")
    assert [round(frame.t, 12) for frame in frames] == [0.0, 0.25, 0.5, 0.75, 1.0]
    last = frames[-1]
    V = run.u.function_space
    where = {tuple(np.round(x[:2], 9)): i for i, x in enumerate(V.tabulate_dof_coordinates())}
    own = [where[tuple(np.round(x, 9))] for x in last.points[:, :2]]
    assert len(own) == 81
    assert np.abs(last.values - run.u.x.array[own]).max() < 1e-14


def test_figures_are_drawn_again(tmp_path: Path) -> None:
    run = fem_deepest.flow(config(), out=tmp_path / "run")
    assert not (run.directory / "figures").exists()
    drawn = fem_deepest.plot(run.directory)
    assert [path.name for path in drawn] == ["measures.png", "snapshots.png", "animation.gif"]
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_figures_of_a_curved_mesh_are_drawn(tmp_path: Path) -> None:
    """Two triangles of degree 2: a frame has all nodes, a figure the corners."""
    x = np.array(
        [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [1, 0.5], [0.5, 0], [0.5, 1], [0, 0.5]]
    )
    cells = np.array([[0, 1, 2, 5, 4, 6], [0, 2, 3, 7, 8, 4]])
    element = basix.ufl.element("Lagrange", "triangle", 2, shape=(2,))
    domain = mesh.create_mesh(MPI.COMM_SELF, cells=cells, x=x, e=ufl.Mesh(element))
    with io.XDMFFile(MPI.COMM_SELF, tmp_path / "curved.xdmf", "w") as file:
        file.write_mesh(domain)
    run = fem_deepest.flow(
        config(
            mesh={"domain": "file", "path": str(tmp_path / "curved.xdmf"), "degree": 2},
            time={"steps": 2},
            output={"figures": True, "frames": 2},
        ),
        out=tmp_path / "run",
    )
    assert {p.name for p in (run.directory / "figures").iterdir()} == {
        "measures.png",
        "snapshots.png",
        "animation.gif",
    }


def test_the_path_is_that_of_its_seed_and_sample(tmp_path: Path) -> None:
    first, again, other, seeded = (
        fem_deepest.flow(config(**change), out=tmp_path / str(i)).u.x.array
        for i, change in enumerate([{}, {}, {"sample": 1}, {"seed": 4}])
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.01 and np.abs(first - seeded).max() > 0.01


def test_run_json_says_what_was_run(tmp_path: Path) -> None:
    run = fem_deepest.flow(config(), out=tmp_path / "run")
    values = json.loads((run.directory / "run.json").read_text())
    assert values["verb"] == "flow" and values["status"] == "converged"
    assert values["config"]["mesh"]["degree"] == 1
    assert values["metrics"]["time"] == 1.0 and values["stages"][0]["steps"] == 10


@pytest.mark.parametrize(
    "change, words",
    [
        ({"mesh": {"domain": "file"}}, "path goes with domain"),
        ({"mesh": {"domain": "file", "path": "no.msh"}}, "there is no mesh file"),
        ({"mesh": {"cells": [4, 4, 4]}}, "one for each side"),
        ({"mesh": {"boundary": "periodic"}}, "closes intervals only"),
        ({"noise": {"covariance": "white"}}, "too rough"),
        ({"noise": {"length": -0.1}}, "noise.length"),
        ({"equation": {"name": "file", "path": "no.py"}}, "there is no file"),
        ({"time": {"T": 0.0}}, "time.T"),
        ({"time": {"scheme": "euler_maryuama"}}, "time.scheme"),
        ({"mesh": {"cels": 4}}, "nearest known key is 'cells'"),
    ],
)
def test_wrong_input_is_refused_and_nothing_written(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fem_deepest.flow(config(**change), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_fails_is_said(tmp_path: Path) -> None:
    for text, words in (
        ("1/0", "ZeroDivisionError"),
        ("x = 1", "defines none"),
        ("f = 1", "no function"),
        ("def f(u):\n    return u.foo", "f in .*e.py fails .AttributeError"),
        ("def G(u):\n    return 'u'", "G in .*e.py fails .ValueError"),
        ("def initial(x):\n    return x[:2]", "initial in .*e.py fails .ValueError"),
    ):
        (tmp_path / "e.py").write_text(text)
        with pytest.raises(InputError, match=words):
            fem_deepest.flow(
                config(equation={"name": "file", "path": str(tmp_path / "e.py")}),
                out=tmp_path / "r",
            )


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    fem_deepest.flow(config(), out=tmp_path / "run")
    with pytest.raises(InputError, match=r"noise\.strength"):
        fem_deepest.flow(config(noise={"strength": 0.2}), out=tmp_path / "run", resume=True)


@pytest.mark.filterwarnings("ignore:overflow")
def test_explosion_is_a_numerical_failure(tmp_path: Path) -> None:
    run = fem_deepest.flow(
        config(
            equation={"reaction": 100.0},
            noise={"strength": 30.0},
            time={"scheme": "euler_maruyama", "T": 10.0, "steps": 100},
        ),
        out=tmp_path / "run",
    )
    assert run.status == "failed" and run.exit_code == 4


def test_white_noise_has_a_stratonovich_path_on_one_mesh_only_where_asked(tmp_path: Path) -> None:
    change: dict[str, Any] = {
        "mesh": {"domain": "interval"},
        "equation": {
            "name": "heat",
            "G": "linear",
            "interpretation": "stratonovich",
            "initial": 1.0,
        },
        "noise": {"covariance": "white"},
    }
    with pytest.raises(InputError, match="discrete_density"):
        fem_deepest.flow(config(**change), out=tmp_path / "no")
    change["equation"]["discrete_density"] = True
    assert fem_deepest.flow(config(**change), out=tmp_path / "yes").status == "converged"
