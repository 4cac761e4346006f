"""`vrag serve …` as a person starts and ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.papers import write_pdf
from vrag.cli import main
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.errors import UsageError
from vrag.servers.guard import is_loopback, read_token
from vrag.servers.run import bind

TOKEN = "canary-0cc175b9c0f1b6a8"


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = tmp_path_factory.mktemp("docs")
    write_pdf(docs / "words.pdf", ["amber"])
    with Corpus.create(tmp_path_factory.mktemp("made") / "corpus") as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        return corpus.folder


@contextmanager
def served(
    folder: Path, *options: object, verb: Sequence[str] = ("serve", "search"), **environment: str
) -> Generator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "vrag", *verb, "-c", folder, "--port", "0", *options]
    with subprocess.Popen(
        [str(part) for part in command], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found, "it doesn't say where it is"
            yield process, found[0]
        finally:
            process.kill()


def test_it_says_where_it_is_answers_and_ends_on_ctrl_c_without_a_word(folder: Path, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    with served(folder, "--token-file", token, "--by", "text", VRAG_TOKEN="another") as (process, url):
        with httpx.Client(base_url=url, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert client.get("/v1/search", params={"q": "amber"}).json()["results"][0][0]["document"] == "words.pdf"
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")


@pytest.mark.parametrize("verb", [("serve", "search"), pytest.param(("serve", "agent"), marks=pytest.mark.full)])
def test_it_ends_also_while_something_hangs(folder: Path, verb: Sequence[str], tmp_path: Path):
    """A search that never returns, in a thread that nobody can stop."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, vrag.retriever as r\n"
        "async def hang(self, queries, k):\n"
        "    import asyncio\n"
        "    return await asyncio.to_thread(threading.Event().wait)\n"
        "r.LexicalRetriever.search_many = hang\n"
    )
    path = "/v1/search" if verb[1] == "search" else f"/v1/corpora/{folder.name}/search"
    options = ["--timeout", 1] if verb[1] == "search" else []
    with served(folder, *options, verb=verb, PYTHONPATH=str(tmp_path)) as (process, url):
        with httpx.Client(base_url=url, trust_env=False) as client, suppress(httpx.ReadTimeout):
            client.get(path, params={"q": "amber"}, timeout=2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "didn't answer" in said


@pytest.mark.parametrize(
    ("verb", "paths"),
    [(("serve", "agent"), {"/health", "/v1/corpora/corpus"}), (("mcp", "--transport", "http"), {"/health"})],
)
def test_agents_answer_and_end_on_ctrl_c_without_a_word(folder: Path, verb: Sequence[str], paths: set[str]):
    with served(folder, verb=verb) as (process, url):
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert {client.get(path).status_code for path in paths} == {200}
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")


@pytest.mark.parametrize(
    ("verb", "module", "extra"),
    [
        (("serve", "search"), "fastapi", "serve"),
        (("serve", "agent"), "python_multipart", "serve"),
        (("mcp",), "mcp", "mcp"),
    ],
)
def test_the_extra_that_is_missing_is_named(folder: Path, verb: Sequence[str], module: str, extra: str):
    command = f"import sys; sys.modules['{module}'] = None; from vrag.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run([sys.executable, "-c", command, *verb, "-c", str(folder)], capture_output=True, text=True)
    assert ended.returncode == 2 and f"pip install 'vrag[{extra}]'" in ended.stderr and "Traceback" not in ended.stderr


def test_policies_and_corpora_that_cant_be_served_are_said(folder: Path, capsys: pytest.CaptureFixture[str]):
    url = "http://127.0.0.1:1/v1"
    assert vrag("serve", "agent", "--port", 0, "-c", "nothing") == 1
    assert "no corpus" in capsys.readouterr().err
    assert vrag("serve", "agent", "--port", 0, "-c", folder, "-c", f"{folder}/.") == 2
    assert "two corpora are called 'corpus'" in capsys.readouterr().err
    assert vrag("serve", "agent", "--port", 0, "-p", url) == 2
    assert "--policy-model" in capsys.readouterr().err
    assert vrag("serve", "agent", "--port", 0, "-p", url, "-p", f"{url}x", "--policy-model", "m") == 2
    assert "one policy can be a server's" in capsys.readouterr().err
    assert vrag("mcp", "-c", folder, "-p", "extractive", "--policy-model", "m") == 2
    assert "--policy URL" in capsys.readouterr().err
    assert vrag("serve", "agent", "--host", "0.0.0.0") == 2
    assert "--token-file" in capsys.readouterr().err


def test_other_verbs_dont_load_the_web():
    command = (
        "import sys, vrag.cli, vrag.cli.serve, vrag.cli.mcp, vrag.cli.search, vrag.policies.served, vrag.rewards.judge;"
        "web = {'fastapi', 'starlette', 'uvicorn', 'httpx', 'openai', 'stamina', 'prometheus_client', 'mcp'};"
        "print(web & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout == "set()\n"


def test_a_corpus_that_isnt_there_and_vectors_that_arent_are_said(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("serve", "search", "-c", "nothing", "--port", 0) == 1
    assert "no corpus 'nothing'" in capsys.readouterr().err
    assert vrag("serve", "search", "-c", folder, "--port", 0, "--by", "visual") == 2
    assert "--encoder MODEL" in capsys.readouterr().err


def test_an_encoder_that_isnt_there_a_name_too_many_and_a_token_too_few_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert vrag("serve", "encoder", "--encoder", "nothing:here", "--port", 0) == 2
    assert "module:attribute" in capsys.readouterr().err
    assert vrag("serve", "encoder", "--port", 0) == 2
    assert "--encoder" in capsys.readouterr().err
    monkeypatch.setenv("VRAG_TOKEN", TOKEN)  # is the search server's
    assert vrag("serve", "encoder", "--encoder", "nothing:here", "--host", "0.0.0.0") == 2
    assert "VRAG_ENCODER_TOKEN" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(folder: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert vrag("serve", "search", "-c", folder, "--port", taken.getsockname()[1]) == 2
    assert "choose another" in capsys.readouterr().err


def test_answers_dont_wait_for_more_to_send():
    with bind("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on: 40 ms a request


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_listening_to_others_demands_a_token(folder: Path, host: str, capsys: pytest.CaptureFixture[str]):
    assert vrag("serve", "search", "-c", folder, "--host", host) == 2
    assert "--token-file" in capsys.readouterr().err
    assert not is_loopback(host) and read_token(host, None, TOKEN) == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str):
    assert is_loopback(host) and read_token(host, None, None) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", "ü".encode(), b"\xff\xfe"])
def test_a_token_that_is_none_is_refused_and_not_shown(content: bytes, tmp_path: Path):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="token") as refused:
        read_token("127.0.0.1", file, None)
    assert "two" not in str(refused.value)
    with pytest.raises(UsageError, match="VRAG_TOKEN"):
        read_token("127.0.0.1", None, "")
    with pytest.raises(UsageError, match="can't be read"):
        read_token("127.0.0.1", tmp_path / "missing", TOKEN)


@pytest.mark.parametrize("verb", [("serve", "search"), ("serve", "agent"), ("mcp",)])
def test_a_time_that_never_ends_is_refused(
    folder: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("vrag.servers.run.Server.until_ended", lambda _: None)
    assert vrag(*verb, "--corpus", folder, "--port", 0, "--timeout", "inf") == 2
    assert "inf is no number of seconds" in capsys.readouterr().err
    assert vrag(*verb, "--corpus", folder, "--port", 0, "--timeout", "nan") == 2
