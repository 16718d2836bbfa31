"""The main job on two hosts: network namespaces with their own names and addresses, Open MPI over TCP."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from launch import DEMOS, environment, history, record, timeless
from mpi4py import MPI

import fem_deepest

SUBNET, ADDRESSES = "10.77.0.0/24", {"west": "10.77.0.1/24", "east": "10.77.0.2/24"}
SETTINGS = ["network.cells=2", "solve.iterations=10", "output.figures=false", "output.fields=false"]

# What mpirun takes for ssh: HOST COMMAND... runs the command on that host.
AGENT = """\
#!/bin/sh
case $1 in
    west) host={west} ;;
    east) host={east} ;;
esac
shift
exec nsenter --target $host --net --uts sh -c "$*"
"""


def possible() -> str:
    """Why there can be no hosts here; nothing if there can."""
    if MPI.get_vendor()[0] != "Open MPI":
        return "the MPI is not Open MPI"
    for tool in ("mpirun", "unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is missing"
    done = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, text=True)
    return f"no namespaces: {done.stderr.strip()}" if done.returncode else ""


class Hosts:
    """Two hosts and the wire between them; they are gone when the context is left."""

    def __init__(self, folder: Path) -> None:
        self._agent, self._stack, self._ids = folder / "agent", ExitStack(), dict[str, int]()

    def __enter__(self) -> Hosts:
        for name in ADDRESSES:
            # Ends with its standard input, and so with this process however that ends.
            shell = f"echo {name} >/proc/sys/kernel/hostname && echo up && exec cat"
            holder = self._stack.enter_context(
                subprocess.Popen(
                    ["unshare", "--net", "--uts", "sh", "-c", shell],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert holder.stdout is not None and holder.stdout.readline() == b"up\n"
            self._ids[name] = holder.pid
        west, east = map(str, self._ids.values())
        wire = ("ip", "link", "add", "wire", "netns", west, "type", "veth")
        subprocess.run([*wire, "peer", "name", "wire", "netns", east], check=True)
        for name, address in ADDRESSES.items():
            for words in (f"addr add {address} dev wire", "link set wire up", "link set lo up"):
                subprocess.run(self._at(name, "ip", *words.split()), check=True)
        self._agent.write_text(AGENT.format(**self._ids))
        self._agent.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        networks = {self._network(number) for number in self._ids.values()}
        networks -= {None, self._network(os.getpid())}
        for entry in Path("/proc").iterdir():  # what a run that hung has left
            if entry.name.isdigit() and self._network(int(entry.name)) in networks:
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)
        self._stack.close()

    def mpirun(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """One rank on either host."""
        variables = environment(
            OMPI_MCA_pml="ob1",
            OMPI_MCA_btl="self,sm,tcp",
            OMPI_MCA_btl_tcp_if_include=SUBNET,
            PRTE_MCA_prte_if_include=SUBNET,
            PRTE_MCA_plm_ssh_agent=str(self._agent),
            # To bind ranks to the first core of either host would be to the same one.
            PRTE_MCA_hwloc_default_binding_policy="none",
        )
        launcher = self._at("west", "mpirun", "--host", "west,east", "--map-by", "ppr:1:node")
        return subprocess.run(
            [*launcher, sys.executable, *map(str, words)],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def crossed(self) -> tuple[int, int]:
        """Bytes that west has received and sent on the wire so far."""
        table = Path(f"/proc/{self._ids['west']}/net/dev").read_text()
        fields = table.partition("wire:")[2].split()
        return int(fields[0]), int(fields[8])

    @staticmethod
    def _network(number: int) -> str | None:
        """Network namespace of a process, if it is still there."""
        try:
            return os.readlink(f"/proc/{number}/ns/net")
        except OSError:
            return None

    def _at(self, name: str, *words: str) -> list[str]:
        return ["nsenter", "--target", str(self._ids[name]), "--net", "--uts", *words]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    why = possible()
    if why:
        pytest.skip(f"two hosts: {why}")
    with Hosts(tmp_path_factory.mktemp("hosts")) as both:
        yield both


def test_ranks_are_on_two_hosts(hosts):
    script = "from mpi4py import MPI; print(MPI.COMM_WORLD.gather(MPI.Get_processor_name()))"
    done = hosts.mpirun("-c", script)
    assert done.returncode == 0, done
    assert "['west', 'east']" in done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    return fem_deepest.train(DEMOS / "digits.toml", out=out, settings=SETTINGS)


def across(hosts, out, *settings):
    """Evaluations of a run on both hosts, and the bytes that west received and sent."""
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    before = hosts.crossed()
    done = hosts.mpirun("-m", "fem_deepest", "train", DEMOS / "digits.toml", "--out", out, *words)
    received, sent = (after - first for first, after in zip(before, hosts.crossed(), strict=True))
    assert done.returncode == 3, done  # so few iterations do not suffice
    return record(out)["evaluations"], received, sent


def test_samples_on_two_hosts(hosts, alone, tmp_path):
    evaluations, received, sent = across(hosts, tmp_path / "out")
    assert record(tmp_path / "out")["grid"] == "1x2"
    assert timeless(tmp_path / "out") == timeless(alone.directory)
    assert record(tmp_path / "out")["metrics"] == alone.metrics
    # For each gradient the weights cross, and what the samples of the other host say of them comes
    # back: not of the last node, which layers of Euler's scheme do not read.
    weights = evaluations * alone.model.flat.nbytes
    assert weights > 1e6
    assert sent > weights
    assert received > weights / 2


def test_depth_on_two_hosts(hosts, alone, tmp_path):
    evaluations, received, sent = across(hosts, tmp_path / "out", "parallel.grid=2x1")
    assert record(tmp_path / "out")["grid"] == "2x1"
    # Sums in another order: rounding, which ten iterations multiply.
    for row, expected in zip(history(tmp_path / "out"), history(alone.directory), strict=True):
        for name in ("action", "misfit", "prior", "gradient", "score"):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-10)
    # For each gradient the states of all samples cross, and the adjoints come back.
    states = evaluations * 8 * 1437 * 64
    assert min(sent, received) > states > 5e6
