"""Containers: the files agree with each other and with the command line of vrag. Docker itself isn't asked."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.composing import BASE, GPU, ROOT, services, variables
from tests.serving import started as serving
from vrag.cli import main

TOKEN = {"VRAG_TOKEN": "canary-0cc175b9c0f1b6a8"}
PORTS = {"app": "8080", "agent": "8001", "search": "8002"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def option(command: list[str], name: str) -> list[str]:
    """The values of an option, written `--name value` or `--name=value`."""
    apart = [value for key, value in pairwise(command) if key == name]
    return apart + [part.removeprefix(f"{name}=") for part in command if part.startswith(f"{name}=")]


@pytest.fixture
def commanded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the servers are started with, in place of starting them."""
    found: list[dict[str, Any]] = []

    def serve_app(what: str, make: Callable[[str | None], Any], host: str, port: int, *rest: Any) -> None:
        found.append({"make": make, "host": host, "port": port, "variable": rest[2]})

    monkeypatch.setattr("vrag.cli.serve.serve_app", serve_app)
    monkeypatch.setattr("vrag.cli.app.serve_app", serve_app)
    return found


@pytest.mark.parametrize("files", [(BASE,), (BASE, GPU)], ids=["cpu", "gpu"])
@pytest.mark.parametrize("name", PORTS)
def test_each_service_is_a_command_that_vrag_understands(
    name: str, files: tuple[Path, ...], commanded: list[dict[str, Any]], tmp_path: Path
):
    command = services(*files, environment=TOKEN)[name]["command"]
    assert main([str(tmp_path) if part == "/documents" else part for part in command]) == 0
    assert [(one["host"], one["port"], one["variable"]) for one in commanded] == [
        ("0.0.0.0", int(PORTS[name]), "VRAG_TOKEN")
    ]


@pytest.mark.parametrize("name", ["app", "agent"])
def test_with_a_gpu_the_first_policy_is_the_model_server(name: str, commanded: list[dict[str, Any]], tmp_path: Path):
    known = services(BASE, GPU, environment=TOKEN)
    command = known[name]["command"]
    assert main([str(tmp_path) if part == "/documents" else part for part in command]) == 0
    model = known["model"]["command"][0]
    with serving(commanded[0]["make"](TOKEN["VRAG_TOKEN"])) as server:
        health = server.client.get("/health", headers={"Authorization": f"Bearer {TOKEN['VRAG_TOKEN']}"}).json()
    assert health["policies"][0] == model == option(command, "--policy-model")[0]
    assert health["read_only"] == (name == "agent")
    assert option(command, "--policy")[0] == "http://model:8000/v1"


def test_without_a_token_nothing_starts():
    with pytest.raises(KeyError, match="openssl rand"):
        services(BASE, environment={})


@pytest.mark.parametrize("name", PORTS)
def test_port_health_check_and_publication_agree_and_only_this_machine_is_let_in(name: str):
    service = services(BASE, environment=TOKEN)[name]
    assert option(service["command"], "--port") == [PORTS[name]]
    assert service["healthcheck"]["test"] == ["CMD", "python", "-m", "vrag.servers.health", PORTS[name]]
    assert service["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert service["environment"] == TOKEN and "corpora:/data" in service["volumes"]
    assert service["cap_drop"] == ["ALL"]


def test_one_service_writes_and_the_others_wait_for_it():
    known = services(BASE, environment=TOKEN)
    assert "--read-only" in known["agent"]["command"] and "--read-only" not in known["app"]["command"]
    waiting = {"app": {"condition": "service_healthy"}}
    assert known["agent"]["depends_on"] == waiting == known["search"]["depends_on"]


def test_variables_of_the_image_are_read_by_vrag_and_those_of_compose_explained():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src/vrag").rglob("*.py"))
    given = set(re.findall(r"\b(VRAG_\w+)=", DOCKERFILE)) | set(services(BASE, environment=TOKEN)["app"]["environment"])
    assert given == {"VRAG_HOME", "VRAG_TOKEN"} and all(f'"{name}"' in source for name in given)
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    assert {name for name in variables(BASE, GPU) if f"`{name}`" not in page} == set()


def test_the_image_runs_as_a_user_and_takes_only_what_it_needs():
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M) == ["1000:1000"]
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M)
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name.removeprefix("./") for line in copied for name in line.split()} == taken
    extras = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.M)[0].split(",")
    known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    assert set(extras) <= set(known)


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "compose.yaml"),
        ("compose-spec", "compose.gpu.yaml"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_a_file_that_others_read_follows_their_schema(schema: str, file: str):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
