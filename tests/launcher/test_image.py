"""The image: check_image.sh builds and runs it, on the host; here it is only read."""

import importlib.util
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER = CHECKOUT / "docker"


def test_image_definitions_share_installer_and_list():
    for name in ("Dockerfile", "fem-deepest.def"):
        text = (DOCKER / name).read_text()
        assert "docker/packages.txt" in text
        assert "docker/install-packages" in text
        assert "apt-get" not in text


def test_paths_named_in_the_definitions_exist():
    files = re.search(r"^%files\n(.*?)\n\n", (DOCKER / "fem-deepest.def").read_text(), re.S | re.M)
    copied = re.search(r"^COPY (.*) \S+$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert files is not None and copied is not None
    for path in [line.split()[0] for line in files[1].splitlines()] + copied[1].split():
        assert (CHECKOUT / path).exists(), path


def test_compose_services():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = compose["services"]
    assert services["train"]["command"] == "fem-deepest train demos/digits.toml"
    assert services["test"]["command"] == "pytest"
    assert services["notebook"]["ports"] == ["127.0.0.1:8888:8888"]
    for service in services.values():
        assert (
            DOCKER / service["build"]["context"] / service["build"]["dockerfile"]
        ).resolve() == DOCKER / "Dockerfile"


@pytest.mark.timeout(1800)
def test_image_is_built_and_runs_the_main_job():
    if importlib.util.find_spec("dolfinx") is not None:
        pytest.skip("inside the environment: run tests/launcher/check_image.sh on the host")
    if not os.environ.get("CI"):
        pytest.skip("takes five minutes: set CI, or run tests/launcher/check_image.sh")
    done = subprocess.run(
        [Path(__file__).with_name("check_image.sh")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    skipped = re.findall(r"^skip - (.*)", done.stdout, re.MULTILINE)
    if skipped:
        pytest.skip(skipped[0])


def test_conda_and_spack_have_what_the_package_needs():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}
    conda = yaml.safe_load((DOCKER / "environment.yml").read_text())["dependencies"]
    spack = yaml.safe_load((DOCKER / "spack.yaml").read_text())["spack"]["specs"]
    assert needed <= {re.split(r"[<>=]", name)[0] for name in conda}
    assert {f"py-{name}" for name in needed} <= {re.split(r"[@ ]", name)[0] for name in spack}
