"""One rank is killed at a random moment, twenty times: no hang, and the end is as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from launch import TINY, environment, record, timeless

import fem_deepest
from fem_deepest.runs.train import Run

KILLS = 20
SOON = 20.0  # seconds; what is seen is below two, but the machine may be busy
SETTINGS = ["network.cells=2", "solve.tolerance=1e-5"]
EVERY_STEP, EVERY_HOUR = "output.checkpoint_minutes=0", "output.checkpoint_minutes=60"

# The command; each rank says where it is.
NAMED = """\
import os, sys
from mpi4py import MPI
place = sys.argv.pop(1)
with open(f"{place}.{MPI.COMM_WORLD.rank}", "w") as file:
    file.write(str(os.getpid()) + "\\n")
import fem_deepest.cli.main as command
command.main()
"""


def lines(path: Path) -> int:
    """Whole lines of a file that may be missing."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


class Job:
    """A training under mpirun, which goes on with what is there."""

    def __init__(self, folder: Path, out: Path, ranks: int, *settings: str) -> None:
        self.out, self.ranks, self.begun = out, ranks, time.monotonic()
        self.named = folder / f"pid{time.monotonic_ns()}"
        self.log = self.named.with_suffix(".log")
        words = [folder / "tiny.toml", "--out", out, "--resume"]
        words += [word for setting in settings for word in ("--set", setting)]
        mpirun = shutil.which("mpirun") or pytest.skip("mpirun is missing")
        command = [mpirun, "-n", ranks, sys.executable, "-c", NAMED, self.named, "train", *words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), env=environment(), cwd="/", stdout=log, stderr=log
            )

    def wait_for(self, condition) -> bool:
        """Wait until this is so; false if the job has ended before."""
        while self.process.poll() is None:
            if condition():
                return True
            assert time.monotonic() - self.begun < 120.0, self.log.read_text()
            time.sleep(0.0005)
        return False

    def kill(self, rank: int) -> float:
        """Kill a rank; seconds until the job has ended."""
        file = Path(f"{self.named}.{rank}")
        assert self.wait_for(lambda: lines(file)), self.log.read_text()
        os.kill(int(file.read_text()), signal.SIGKILL)
        begun = time.monotonic()
        try:
            code = self.process.wait(SOON)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"hangs after the death of rank {rank}:\n{self.log.read_text()}")
        assert code != 0
        return time.monotonic() - begun


@pytest.mark.timeout(200)
def test_mpirun_passes_on_the_signal_of_a_batch_system(tmp_path: Path) -> None:
    """SLURM's --signal=B:USR1@300 reaches mpirun alone; elsewhere the ranks hear of it twice."""
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "out"
    job = Job(tmp_path, out, 2, "network.cells=64", "solve.tolerance=1e-12", EVERY_HOUR)
    assert job.wait_for(lambda: lines(out / "history.csv") > 5), job.log.read_text()
    for _ in range(2):
        job.process.send_signal(signal.SIGUSR1)
    assert job.process.wait(SOON) == 130, job.log.read_text()
    assert record(out)["status"] == "interrupted"
    assert "Interrupted; the checkpoint is in" in job.log.read_text()
    assert (out / "checkpoint.h5").exists()


@pytest.mark.timeout(600)
def test_a_rank_is_killed_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    whole = fem_deepest.train(tmp_path / "tiny.toml", out=tmp_path / "whole", settings=SETTINGS)
    assert whole.status == "converged"
    rows = len(timeless(whole.directory))
    assert rows > 10 * KILLS

    random, out = np.random.default_rng(7), tmp_path / "out"
    killed, longest, written = 0, 0.0, 0
    while True:
        ranks = 3 if killed % 7 == 3 else 2
        job = Job(tmp_path, out, ranks, *SETTINGS, EVERY_STEP)
        if killed == KILLS:
            break
        # Spread over the run; every fifth one while it begins or reads the checkpoint.
        if killed % 5 == 2:
            delay = random.uniform(0.0, 2.0)
            alive = job.wait_for(lambda: time.monotonic() - job.begun > delay)  # noqa: B023
        else:
            goal = int(rows * (killed + random.uniform(0.0, 0.8)) / KILLS)
            alive = job.wait_for(lambda: lines(out / "history.csv") > goal)  # noqa: B023
        if alive and killed % 2:  # while a checkpoint is written
            alive = job.wait_for((out / "checkpoint.h5.part").exists)
        if alive:
            longest = max(longest, job.kill(int(random.integers(ranks))))
            written += (out / "checkpoint.h5.part").exists()
            killed += 1
    assert job.process.wait(120) == 0, job.log.read_text()
    told = job.log.read_text()
    assert "resuming at" in told
    print(f"{killed} kills, {written} of them in a write, the job ended within {longest:.2f} s")

    assert record(out)["status"] == "converged"
    assert timeless(out) == timeless(whole.directory)
    end = Run.load(out)
    assert end.metrics == whole.metrics
    assert np.array_equal(end.model.flat, whole.model.flat)
    left = {path.name for path in out.iterdir()}
    assert left == {"run.json", "history.csv", "checkpoint.h5", "checkpoint.previous.h5"}
