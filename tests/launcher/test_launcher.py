"""docker/run as seen from wherever pytest runs.

`docker/run pytest` runs inside the environment, where docker/run takes what is there
(native); check_host.sh looks at the root file system, and runs on the host.
"""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER = CHECKOUT / "docker"
RUN = DOCKER / "run"
NATIVE = importlib.util.find_spec("dolfinx") is not None

needs_dolfinx = pytest.mark.skipif(not NATIVE, reason="native mode needs DOLFINx in this Python")


def launch(*command, way="native", cwd=None, **variables):
    env = {name: value for name, value in os.environ.items() if name != "FEM_DEEPEST_ENV"}
    env.update(variables)
    if way is not None:
        env["FEM_DEEPEST_ENV"] = way
    return subprocess.run(
        [RUN, *command], env=env, cwd=cwd, capture_output=True, text=True, timeout=60
    )


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def settings():
    lines = (DOCKER / "environment").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_unknown_environment_is_refused():
    done = launch("true", way="moon")
    assert done.returncode == 2
    assert done.stderr == (
        "docker/run: FEM_DEEPEST_ENV must be native, docker, podman or rootfs, not 'moon'\n"
    )


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0)])
def test_usage(arguments, code):
    done = launch(*arguments)
    assert done.returncode == code
    assert "FEM_DEEPEST_ENV" in done.stdout + done.stderr


def test_forced_environment_that_is_impossible_says_why(tmp_path):
    executable(tmp_path / "podman", "exit 1\n")
    done = launch("true", way="podman", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 2
    assert done.stderr.endswith("not possible here: podman is installed, but no engine answers\n")


def test_old_dolfinx_is_not_taken(tmp_path):
    (tmp_path / "dolfinx").mkdir()
    (tmp_path / "dolfinx" / "__init__.py").write_text("")
    info = tmp_path / "fenics_dolfinx-0.5.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fenics-dolfinx\nVersion: 0.5.2\n")
    done = launch("true", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "python3 has DOLFINx 0.5.2, but 0.9 is needed" in done.stderr


def test_nothing_possible_says_what_to_install(tmp_path):
    for name in ("python3", "docker", "podman", "unshare"):
        executable(tmp_path / name, "exit 1\n")
    done = launch("true", way=None, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr.startswith("docker/run: found no way to run DOLFINx here (")
    assert "apt install python3-dolfinx" in done.stderr and "debootstrap" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_dolfinx
def test_native_is_the_first_choice():
    done = launch(
        "sh",
        "-c",
        "echo $PYTHONPATH; for i in fem-deepest pytest python; do command -v $i; done",
        way=None,
    )
    assert done.returncode == 0, done.stderr
    path, *commands = done.stdout.splitlines()
    assert path.split(":")[0] == str(CHECKOUT)
    assert commands == [str(DOCKER / "bin" / name) for name in ("fem-deepest", "pytest", "python")]


@needs_dolfinx
def test_native_passes_everything_through(tmp_path):
    directory = tmp_path / "a b"
    directory.mkdir()
    script = 'pwd; printf "%s|" "$@"; echo err >&2; exit 37'
    done = launch("sh", "-c", script, "sh", "a b", "it's", '"$HOME"', "*", "", cwd=directory)
    assert done.returncode == 37
    assert done.stdout == f'{directory}\na b|it\'s|"$HOME"|*||'
    assert done.stderr == "err\n"


@needs_dolfinx
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_native_signals_reach_the_command(number):
    env = dict(os.environ, FEM_DEEPEST_ENV="native")
    process = subprocess.Popen(
        [RUN, "sh", "-c", "echo up; exec sleep 30"], env=env, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == -number
    assert time.monotonic() - start < 2


@needs_dolfinx
def test_native_keeps_what_the_caller_set():
    names = "$OPENBLAS_NUM_THREADS $OMP_NUM_THREADS"
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env.update(FEM_DEEPEST_ENV="native", OPENBLAS_NUM_THREADS="2")
    done = subprocess.run(
        [RUN, "sh", "-c", f"echo {names}"], env=env, capture_output=True, text=True
    )
    assert done.stdout == "2 1\n"


def fake_docker(tmp_path, *command, **variables):
    """Runs docker/run with an engine that has the base image only; returns its calls."""
    record = tmp_path / "record"
    base = variables.get("FEM_DEEPEST_BASE", "debian:trixie-slim")
    executable(
        tmp_path / "bin" / "docker",
        f"""for word; do printf '%s\\037' "$word"; done >>{record}; echo >>{record}
case "$1 $2" in "image inspect") [ "$3" = {base} ] ;; esac
""",
    )
    variables["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = launch(*command, way="docker", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    return [line.split("\037")[:-1] for line in record.read_text().splitlines()]


def test_docker_builds_the_image_and_runs_in_it(tmp_path):
    calls = fake_docker(tmp_path, "fem-deepest", "train", "a b")
    build = next(call for call in calls if call[0] == "build")
    run = calls[-1]
    image = build[build.index("-t") + 1]
    assert re.fullmatch(r"fem-deepest:[0-9a-f]{12}", image)
    assert build[-3:] == ["-f", str(DOCKER / "Dockerfile"), str(CHECKOUT)]
    assert run[run.index(image) :] == [image, "fem-deepest", "train", "a b"]
    options = run[: run.index(image)]
    assert options[:5] == ["run", "--rm", "-i", "--init", "--user"]
    assert options[5] == f"{os.getuid()}:{os.getgid()}"
    assert options[options.index("-w") + 1] == str(tmp_path)
    for mount in (CHECKOUT, tmp_path):
        assert f"{mount}:{mount}" in options
    assert f"PYTHONPATH={CHECKOUT}" in options
    assert "-t" not in options


def test_docker_image_follows_the_base(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    one = fake_docker(tmp_path / "one", "true")[-1]
    two = fake_docker(tmp_path / "two", "true", FEM_DEEPEST_BASE="dolfinx/dolfinx:stable")[-1]
    assert one[-2] != two[-2]


def test_batch_job_leaves_the_transport_alone(tmp_path):
    (tmp_path / "here").mkdir(), (tmp_path / "batch").mkdir()
    here = " ".join(fake_docker(tmp_path / "here", "true")[-1])
    batch = " ".join(fake_docker(tmp_path / "batch", "true", SLURM_JOB_ID="7")[-1])
    assert "PRTE_MCA_rmaps_default_mapping_policy=" in here
    assert "PRTE_MCA_rmaps_default_mapping_policy=" not in batch
    assert "OPENBLAS_NUM_THREADS=" in batch


def test_dockerfile_repeats_the_environment():
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    line = re.search(r"^ENV (.*)$", text, re.MULTILINE)
    assert line is not None
    assert dict(word.split("=", 1) for word in line[1].split()) == settings()


@pytest.mark.parametrize("several", [None, "SLURM_JOB_ID", "PMIX_RANK", "PMI_RANK"])
def test_apptainer_reads_the_environment(several, tmp_path):
    section = re.search(
        r"^%environment\n(.*?)^%", (DOCKER / "fem-deepest.def").read_text(), re.S | re.M
    )
    assert section is not None
    script = section[1].replace(
        "/usr/local/share/fem-deepest/environment", shlex.quote(str(DOCKER / "environment"))
    )
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "4"}
    if several:
        env[several] = "7"
    done = subprocess.run(
        ["sh", "-euc", script + "\nenv"], env=env, capture_output=True, text=True, check=True
    )
    result = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert result["OMP_NUM_THREADS"] == "4"
    assert result["OPENBLAS_NUM_THREADS"] == "1"
    assert result.get("OMPI_MCA_btl") == (None if several else "self,sm")
    assert result["XDG_CACHE_HOME"].startswith(str(tmp_path))


def test_package_list_is_one_package_a_line():
    words = [
        line.split("#")[0].split() for line in (DOCKER / "packages.txt").read_text().splitlines()
    ]
    for entry in filter(None, words):
        assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]*|pip:\S+", entry[0])
        assert len(entry) == 1 or (len(entry) == 2 and entry[1].startswith("pip:"))


def test_installer_on_a_base_with_dolfinx_takes_only_pypi(tmp_path):
    executable(tmp_path / "python3", f'echo "$*" >>{tmp_path}/python\n')
    for name in ("apt-get", "mkdir", "chmod", "ln"):
        executable(tmp_path / name, f'echo "{name} $*" >>{tmp_path}/others\n')
    subprocess.run(
        [DOCKER / "install-packages", DOCKER / "packages.txt", "jupyterlab pip:jupyterlab"],
        env=dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}"),
        check=True,
        capture_output=True,
    )
    assert "apt-get" not in (tmp_path / "others").read_text()
    pip = next(
        line for line in (tmp_path / "python").read_text().splitlines() if "pip install" in line
    )
    assert {"scikit-learn", "pydantic>=2", "pytest", "ruff==0.14.*", "jupyterlab"} <= set(
        pip.split()
    )
    assert not re.search(r"dolfinx|python3-", pip)


def test_scripts_pass_shellcheck():
    scripts = [
        RUN,
        *(DOCKER / name for name in ("rootfs", "install-packages")),
        *(DOCKER / "bin").iterdir(),
        *(DOCKER / "slurm").iterdir(),
    ]
    scripts += Path(__file__).parent.glob("*.sh")
    try:
        done = subprocess.run(
            ["shellcheck", "-S", "warning", *scripts], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("shellcheck is not installed")
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    NATIVE, reason="inside the environment: run tests/launcher/check_host.sh on the host"
)
@pytest.mark.timeout(900)
def test_from_the_host():
    done = subprocess.run(
        [Path(__file__).with_name("check_host.sh")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    if "\nskip - " in done.stdout:
        pytest.skip(re.findall(r"^skip - (.*)", done.stdout, re.MULTILINE)[0])
