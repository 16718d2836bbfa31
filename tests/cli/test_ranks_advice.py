"""``info`` and every run say when there are fewer ranks than a launcher or a batch system meant."""

from __future__ import annotations

import re

import pytest

import fem_deepest
from fem_deepest.cli import ranks

# What a batch script finds in its environment, and how many tasks it was given.
BATCH = {
    "sbatch -n 4": ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 4),
    "sbatch -N 2 --ntasks-per-node=3": (
        {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "3"},
        6,
    ),
    "sbatch -N 2": ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}, 2),
    "Torque": ({"PBS_JOBID": "7", "PBS_NP": "4"}, 4),
    "LSF": ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "4"}, 4),
    "Grid Engine": ({"JOB_ID": "7", "NSLOTS": "4"}, 4),
}
ONE = [
    {},
    {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1"},
    {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"},
    {"SLURM_NTASKS": "none"},
    # Asked for: one task, or one rank, of a job with four.
    {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_SIZE": "1"},
]


@pytest.mark.parametrize("job", BATCH)
def test_batch_job_with_several_tasks_and_one_rank(job):
    variables, tasks = BATCH[job]
    found = ranks.advice(1, variables)
    assert f"allots {tasks} tasks but there is one rank" in found
    assert "mpirun or srun --mpi=pmix" in found
    assert ranks.advice(2, variables) is None


def test_node_file_of_pbs_has_a_line_for_each_task(tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("a\na\nb\n")
    assert "allots 3 tasks" in ranks.advice(1, {"PBS_NODEFILE": str(nodes)})
    nodes.write_text("a\n")
    assert ranks.advice(1, {"PBS_NODEFILE": str(nodes)}) is None
    assert ranks.advice(1, {"PBS_NODEFILE": str(tmp_path / "outside")}) is None


@pytest.mark.parametrize("variables", ONE)
def test_one_rank_where_one_is_meant(variables):
    assert ranks.advice(1, variables) is None


@pytest.mark.parametrize(
    "name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "FLUX_JOB_SIZE"]
)
def test_launcher_of_another_mpi(name):
    found = ranks.advice(1, {name: "4", "SLURM_NTASKS": "4"})
    assert "the launcher started 4 tasks but MPI sees 1" in found
    assert re.search(r"MPI of mpi4py \(.*MPI.*\)", found) and "srun --mpi=pmix" in found
    assert ranks.advice(4, {name: "4"}) is None


def test_info_and_runs_pass_it_on(command, tiny, tmp_path, monkeypatch):
    for name in (*ranks._STARTED, *ranks._NUMBERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert any("allots 4 tasks" in line for line in fem_deepest.info()["advice"])
    few = ("--set", "solve.iterations=2", "--set", "network.cells=2")
    ended = command("train", tiny, "--out", tmp_path / "out", *few)
    assert ended.err == f"fem-deepest: warning: {ranks.advice(1)}\n"
    assert ended.code == 3  # two iterations do not suffice; the warning changes nothing


@pytest.mark.parametrize("number, said", [("0", 1), ("1", 0)])
def test_copies_of_a_run_have_one_voice(monkeypatch, capsys, number, said):
    """Processes that MPI does not connect, as srun without PMIx starts them: each is rank 0."""
    for name in (*ranks._STARTED, *ranks._NUMBERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", number)
    ranks.warn()
    assert capsys.readouterr().err.count("started 2 tasks but MPI sees 1") == said
