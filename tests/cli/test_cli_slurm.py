"""The Slurm scripts of docker/slurm, run with stand-ins for ``srun`` and ``scontrol``."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from launch import ROOT, TINY, environment, history, record, timeless

import fem_deepest
from fem_deepest.studies.table import Table

SCRIPTS = ROOT / "docker" / "slurm"

# Starts the ranks with mpirun, which hands signals on to them as srun does, and takes what the batch
# system says out of their environment, where mpirun would look for nodes.
SRUN = """\
echo "srun $*" >>"$RECORD"
while case $1 in --*) true ;; *) false ;; esac; do shift; done
export BATCH=$PPID
if [ -z "${SLURM_NTASKS:-}" ]; then exec "$@"; fi
exec env -u SLURM_JOB_ID -u SLURM_NTASKS mpirun -n "$SLURM_NTASKS" "$@"
"""

# The command: at one gradient rank 0 signals the batch script, as Slurm does before the limit, and the
# run takes its time until the signal has come round.
TOLD = """\
import os, signal, time
import fem_deepest.cli.main as command
from mpi4py import MPI
from fem_deepest.action.network.action import NetworkAction
gradient, calls = NetworkAction.gradient, [0]
def counted(self, u, g):
    calls[0] += 1
    if calls[0] == 60 and MPI.COMM_WORLD.rank == 0:
        os.kill(int(os.environ["BATCH"]), signal.SIGUSR1)
    if calls[0] >= 60:
        time.sleep(0.1)
    return gradient(self, u, g)
NetworkAction.gradient = counted
command.main()
"""

STUDY = """\
[study]
name = "weak_constraint"
values = [8, 16, 32]
methods = ["midpoint", "gauss2"]
"""

COMMAND = f"{sys.executable} -m fem_deepest"


def script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture
def sbatch(tmp_path):
    """Runs a script as a batch system would, and tells what it called."""
    script(tmp_path / "bin" / "srun", SRUN)
    script(tmp_path / "bin" / "scontrol", 'echo "scontrol $*" >>"$RECORD"\n')
    runs = itertools.count()

    def run(name, *words, **variables):
        calls = tmp_path / f"calls {next(runs)}"
        calls.touch()
        base = environment(RECORD=str(calls), FEM_DEEPEST=COMMAND, SLURM_JOB_ID="7")
        base["PATH"] = f"{tmp_path / 'bin'}:{base['PATH']}"
        done = subprocess.run(
            ["bash", SCRIPTS / name, *map(str, words)],
            env=base | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done, calls.read_text().splitlines()

    return run


@pytest.fixture
def tiny_toml(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_training_ends_with_its_exit_code(sbatch, tmp_path):
    script(tmp_path / "ended", 'printf "%s|" "$OMP_NUM_THREADS" "$@"; exit 3\n')
    command = f"{tmp_path / 'ended'} with words"
    done, calls = sbatch("train.sbatch", "a b.toml", "--out", "c", FEM_DEEPEST=command)
    assert done.returncode == 3, done
    assert done.stdout == "1|with|words|train|a b.toml|--out|c|"
    assert len(calls) == 1 and calls[0].startswith("srun --mpi=pmix ")


def test_a_job_that_is_requeued_ends_like_one_that_was_not(sbatch, tiny_toml, tmp_path):
    whole = fem_deepest.train(tiny_toml, out=tmp_path / "whole")
    (tmp_path / "told.py").write_text(TOLD)
    two, out = {"SLURM_NTASKS": "2", "OUT": "out"}, tmp_path / "out"

    told = f"{sys.executable} told.py"
    done, calls = sbatch("requeue.sbatch", tiny_toml, FEM_DEEPEST=told, **two)
    assert calls[1:] == ["scontrol requeue 7"], done
    assert done.returncode == 0
    assert (record(out)["status"], record(out)["ranks"]) == ("interrupted", 2)
    # The first gradient is no row, and the signal comes round within a few.
    assert 40 < len(history(out)) < len(history(whole.directory)) / 2

    done, calls = sbatch("requeue.sbatch", tiny_toml, SLURM_RESTART_COUNT="1", **two)
    assert len(calls) == 1 and "--resume" in calls[0]
    assert done.returncode == 0
    assert "resuming at" in done.stdout
    assert timeless(out) == timeless(whole.directory)
    assert record(out)["metrics"] == whole.metrics


@pytest.mark.parametrize(
    "status, code, restarts, ends, requeued",
    [
        ("interrupted", 130, "", 0, True),
        ("interrupted", 130, "49", 0, True),
        ("interrupted", 130, "50", 130, False),  # the limit
        ("interrupted", 137, "", 137, False),  # killed, out of memory perhaps: it would be again
        ("interrupted", 1, "1", 1, False),  # did not start: the status is that of the run before
        ("converged", 0, "", 0, False),
        ("not_converged", 3, "", 3, False),
        ("failed", 4, "", 4, False),
        (None, 2, "", 2, False),
    ],
)
def test_only_an_interrupted_run_is_requeued(
    sbatch, tmp_path, status, code, restarts, ends, requeued
):
    (tmp_path / "runs" / "job").mkdir(parents=True)
    wrote = f'printf \'{{\\n  "status": "{status}"\\n}}\' >runs/job/run.json\n' if status else ""
    script(tmp_path / "ended", f"{wrote}exit {code}\n")
    done, calls = sbatch(
        "requeue.sbatch",
        "job.toml",
        FEM_DEEPEST=str(tmp_path / "ended"),
        SLURM_RESTART_COUNT=restarts,
    )
    assert done.returncode == ends, done
    assert calls[1:] == (["scontrol requeue 7"] if requeued else [])


def test_the_tasks_of_an_array_make_the_table_of_the_study(sbatch, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    words = ("study.toml", *(f"study.values=[{n}]" for n in (8, 16, 32)))
    with ThreadPoolExecutor(2) as pool:  # one is missing: it failed, say; the end makes it good
        tasks = [
            pool.submit(sbatch, "study_array.sbatch", *words, SLURM_ARRAY_TASK_ID=task)
            for task in ("0", "2")
        ]
    assert [task.result()[0].returncode for task in tasks] == [0, 0], tasks[0].result()
    done, calls = sbatch("study_array.sbatch", "study.toml", OUT="runs/study")
    assert done.returncode == 0, done
    assert len(calls) == 1
    computed = {s["point"]: s["computed"] for s in record(tmp_path / "runs" / "study")["stages"]}
    assert [fresh for point, fresh in computed.items() if "16" in point] == [True, True]
    assert sum(computed.values()) == 2 and len(computed) == 6
    whole = fem_deepest.study(tmp_path / "study.toml", out=tmp_path / "whole")
    table = Table.from_csv((tmp_path / "runs" / "study" / "table.csv").read_text())
    np.testing.assert_array_equal(table.refined, whole.table.refined)
    for name, errors in whole.table.errors.items():
        np.testing.assert_array_equal(table.errors[name].values, errors.values)


def test_a_task_without_a_setting_says_so(sbatch):
    done, calls = sbatch("study_array.sbatch", "study.toml", SLURM_ARRAY_TASK_ID="3")
    assert done.returncode != 0
    assert "no setting for task 3" in done.stderr
    assert calls == []
