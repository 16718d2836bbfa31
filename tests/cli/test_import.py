"""``import fem_deepest``, with and without DOLFINx; ``info``; the version."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from launch import ROOT, environment

import fem_deepest
from fem_deepest.cli import ranks


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """An environment in which DOLFINx, or petsc4py, is not there."""
    folder = tmp_path_factory.mktemp("stub")

    def make(package):
        (folder / package).mkdir(exist_ok=True)
        stub = folder / package / f"{package}.py"
        stub.write_text(f'raise ImportError("No module named {package!r}")\n')
        return environment(PYTHONPATH=os.pathsep.join([str(stub.parent), str(ROOT)]))

    return make


def python(*words, env):
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["dolfinx", "petsc4py"])
def test_import_says_how_to_get_dolfinx(without, package):
    ended = python("-c", "import fem_deepest", env=without(package))
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: fem_deepest needs DOLFINx 0.9 or later")
    for fragment in (package, "docker/run", "conda install", "apt install python3-dolfinx"):
        assert fragment in last


@pytest.mark.parametrize("words", [["info"], []], ids=["info", "no verb"])
def test_command_without_dolfinx_says_one_sentence(without, words):
    ended = python("-m", "fem_deepest", *words, env=without("dolfinx"))
    assert ended.returncode > 0
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("fem-deepest: fem_deepest needs DOLFINx 0.9 or later")
    assert ended.stderr.count("\n") == 1


def test_names_of_the_package_are_there():
    for name in fem_deepest.__all__:
        assert hasattr(fem_deepest, name)
        assert getattr(fem_deepest, name).__doc__


def test_errors_carry_their_exit_codes():
    assert fem_deepest.InputError.exit_code == 2
    assert issubclass(fem_deepest.InputError, ValueError)
    assert fem_deepest.NotConverged.exit_code == 3
    assert fem_deepest.NumericalFailure.exit_code == 4
    for error in ("InputError", "NotConverged", "NumericalFailure"):
        assert issubclass(getattr(fem_deepest, error), fem_deepest.FemDeepestError)


def test_version(command):
    ended = command("--version")
    assert (ended.code, ended.out) == (0, f"fem-deepest {fem_deepest.__version__}\n")


def test_help_names_the_verbs(command):
    ended = command("--help")
    assert ended.code == 0
    verbs = "train anneal flow sample study plan generate predict plot export info"
    for verb in verbs.split():
        assert verb in ended.out


def test_info(command, monkeypatch):
    for variable in (*ranks._STARTED, *ranks._ALLOTTED, "SLURM_JOB_NUM_NODES", "PBS_NODEFILE"):
        monkeypatch.delenv(variable, raising=False)
    ended = command("info")
    assert ended.code == 0
    lines = [line.split() for line in ended.out.splitlines()]
    shown = {line[0]: line[1:] for line in lines if line}
    import dolfinx
    import numpy

    assert shown["fem_deepest"] == [fem_deepest.__version__]
    assert shown["dolfinx"] == [dolfinx.__version__]
    assert shown["numpy"] == [numpy.__version__]
    assert shown["ranks"] == ["1"]
    assert {"python", "petsc", "scipy", "mpi", "blas", "blas_gflops", "petsc_packages"} <= set(
        shown
    )
    assert float(shown["blas_gflops"][0]) > 0.1
    assert shown["noise_kernel"][0] in ("C", "NumPy")
    assert "tasks" not in ended.out


def test_info_advises_on_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gmsh", None)
    monkeypatch.setattr("fem_deepest.cli.info.blas_speed", lambda: 1.5)
    monkeypatch.setattr("fem_deepest.noise.compiled.available", lambda: False)
    advice = "\n".join(fem_deepest.info()["advice"])
    assert "gmsh is missing (meshes from .geo sources)" in advice
    assert "the BLAS does 1.5 GFlop/s" in advice
    assert "libopenblas" in advice
    assert "install a C compiler" in advice
