"""The commands of compose.yaml as processes of this machine: healthy, searched, asked, ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.asking import make_corpus
from tests.composing import BASE, services
from vrag.servers.health import main, trouble

TOKEN = "canary-0cc175b9c0f1b6a8"
QUESTION = "Which port does the daemon listen on?"


class Service:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://0\.0\.0\.0:(\d+)", said)
        assert found, said
        self.process, self.port = process, int(found[1])

    def ask(self, method: str, path: str, token: str = TOKEN, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30) as client:
            return client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Service]]:
    """The three, in the order in which Compose starts them, each once those that it waits for are healthy."""
    home = tmp_path_factory.mktemp("data")
    corpus = make_corpus(home / "corpora" / "documents")
    environment = {**os.environ, "VRAG_HOME": str(home), "VRAG_TOKEN": TOKEN}
    known = services(BASE, environment={"VRAG_TOKEN": TOKEN})
    started: dict[str, Service] = {}
    with ExitStack() as stack:
        for name in sorted(known, key=lambda name: len(known[name].get("depends_on", {}))):
            assert all(trouble(started[other].port, TOKEN) is None for other in known[name].get("depends_on", {}))
            command = [_here(part, corpus) for part in known[name]["command"]]
            command[command.index("--port") + 1] = "0"
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "vrag", *command], stderr=subprocess.PIPE, text=True, env=environment
                )
            )
            stack.callback(process.kill)
            started[name] = Service(process)
        yield started


def _here(part: str, corpus: Path) -> str:
    return str(corpus.parent / "documents") if part == "/documents" else part


def test_all_are_healthy_by_the_check_of_the_container(running: dict[str, Service], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VRAG_TOKEN", TOKEN)
    assert {name: main([str(service.port)]) for name, service in running.items()} == dict.fromkeys(running, 0)


def test_a_check_without_the_token_at_no_server_or_of_no_port_fails_and_says_why(
    running: dict[str, Service], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("VRAG_TOKEN", raising=False)
    assert main([str(running["search"].port)]) == 1 and "VRAG_TOKEN" in capsys.readouterr().err
    assert main(["1"]) == 1 and "no answer" in capsys.readouterr().err
    assert main(["http"]) == 2 and "usage" in capsys.readouterr().err


def test_search_finds_the_page_and_the_agent_answers_from_it(running: dict[str, Service]):
    hits = running["search"].ask("GET", "/v1/search", params={"q": "daemon port"}).json()["results"][0]
    assert (hits[0]["document"], hits[0]["page"]) == ("manual.pdf", 2)
    body = {"model": "documents", "messages": [{"role": "user", "content": QUESTION}]}
    for name in ("agent", "app"):
        made = running[name].ask("POST", "/v1/chat/completions", json=body).json()
        assert made["choices"][0]["message"]["content"] == "873"
        assert made["vrag"]["evidence"]["page"] == 2


def test_nothing_is_answered_without_the_token_and_only_the_app_takes_documents(running: dict[str, Service]):
    assert {service.ask("GET", "/health", token="wrong").status_code for service in running.values()} == {401}
    uploads = {
        name: running[name].ask("POST", "/v1/corpora", json={"name": "more"}).status_code for name in ("agent", "app")
    }
    assert uploads == {"agent": 403, "app": 201}


def test_they_end_when_compose_tells_them_to(running: dict[str, Service]):
    for service in running.values():
        service.process.send_signal(signal.SIGTERM)
    for service in running.values():
        _, rest = service.process.communicate(timeout=20)
        assert service.process.returncode in (0, -signal.SIGTERM) and "Traceback" not in rest
