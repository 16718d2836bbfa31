"""The main job on two hosts: network namespaces with their own names and addresses, Open MPI over TCP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from launch import DEMOS, environment, timeless
from mpi4py import MPI

import fem_deepest

SUBNET, ADDRESSES = "10.77.0.0/24", {"west": "10.77.0.1/24", "east": "10.77.0.2/24"}
SETTINGS = ["network.cells=2", "solve.iterations=20", "output.figures=false", "output.fields=false"]

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


def test_the_main_job_across_two_hosts(hosts, tmp_path):
    alone = fem_deepest.train(DEMOS / "digits.toml", out=tmp_path / "alone", settings=SETTINGS)
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    before = hosts.crossed()
    done = hosts.mpirun(
        "-m", "fem_deepest", "train", DEMOS / "digits.toml", "--out", tmp_path / "two", *words
    )
    received, sent = (after - first for first, after in zip(before, hosts.crossed(), strict=True))
    assert done.returncode == 3, done  # 20 iterations do not suffice
    assert timeless(tmp_path / "two") == timeless(alone.directory)
    values = json.loads((tmp_path / "two" / "run.json").read_text())
    assert values["grid"] == "1x2"
    assert values["metrics"] == alone.metrics
    # For each gradient the weights cross, and what the samples of the other host say of them comes
    # back: not of the last node, which layers of Euler's scheme do not read.
    weights = values["evaluations"] * alone.model.flat.nbytes
    assert weights > 1e6
    assert sent > weights
    assert received > weights / 2
