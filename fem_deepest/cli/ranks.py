"""How many ranks there should be: what a launcher or a batch system says, against what MPI sees.

A command that is started on one rank where there should be many is slow, at best: where ``mpirun`` or
``srun`` belongs to another MPI than mpi4py, as many copies of the run as there are tasks write over one
another's files. Both show in the environment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mpi4py import MPI

# Set in each process that was started as one of several. Inside the batch script of Slurm only the
# allocation is known, not a step; there SLURM_PROCID is 0 and says nothing.
_STARTED = (
    "OMPI_COMM_WORLD_SIZE",  # mpirun of Open MPI
    "PMI_SIZE",  # mpiexec of MPICH and Intel MPI, srun --mpi=pmi2, Cray
    "MV2_COMM_WORLD_SIZE",  # MVAPICH2
    "FLUX_JOB_SIZE",  # flux run
    "SLURM_STEP_NUM_TASKS",  # srun
)
_NUMBERS = (
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "PALS_RANKID",
    "FLUX_TASK_RANK",
    "SLURM_PROCID",
)
# Tasks of a job: Slurm; Torque; LSF; Grid Engine.
_ALLOTTED = ("SLURM_NTASKS", "PBS_NP", "LSB_DJOB_NUMPROC", "NSLOTS")


def advice(size: int, environment: Mapping[str, str] = os.environ) -> str | None:
    """What is wrong with a command on so few ranks, or nothing. Not collective.

    Args:
        size: Size of the communicator.
        environment: Variables of the process.
    """
    if size > 1:
        return None
    # The innermost launcher: mpirun below srun starts its own.
    launcher = next((name for name in _STARTED if name in environment), None)
    started = 0 if launcher is None else _number(environment, launcher)
    if started > 1:
        library = re.split(r"[,\n\0]", MPI.Get_library_version())[0].strip()
        return (
            f"the launcher started {started} tasks but MPI sees 1: mpirun or srun is not that of the "
            f"MPI of mpi4py ({library}); take the mpirun of that MPI, or srun --mpi=pmix (see "
            "srun --mpi=list)"
        )
    # One task of a job with several, as mpirun -n 1 starts it, is what somebody asked for.
    allotted = _allotted(environment) if launcher is None else 0
    if allotted > 1:
        return (
            f"the batch system allots {allotted} tasks but there is one rank: start the command with "
            "mpirun or srun --mpi=pmix"
        )
    return None


def warn(comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
    """Print the advice, if there is some, once on standard error. Not collective."""
    # Where MPI sees one rank each, every process is its rank 0; the launcher tells them apart.
    if comm.size == 1 and not any(_number(os.environ, name) > 0 for name in _NUMBERS):
        found = advice(comm.size)
        if found:
            print(f"fem-deepest: warning: {found}", file=sys.stderr, flush=True)


def _allotted(environment: Mapping[str, str]) -> int:
    """Tasks of the job that this is part of; 0 outside of jobs."""
    for name in _ALLOTTED:
        if name in environment:
            return _number(environment, name)
    if "SLURM_JOB_NUM_NODES" in environment:  # no --ntasks: so many on each node, or one
        each = max(1, _number(environment, "SLURM_NTASKS_PER_NODE"))
        return each * _number(environment, "SLURM_JOB_NUM_NODES")
    try:  # PBS: a line for each task; the file may not be there inside a container
        return len(Path(environment["PBS_NODEFILE"]).read_text().split())
    except (KeyError, OSError):
        return 0


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0
