"""`vrag app` as its server sees it: the page's files, who may have them, and what is indexed while it is open."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.asking import agent_serving, app_serving, make_corpus, until_indexed
from tests.audit import files_opened, send
from tests.papers import write_pdf
from tests.serving import Running
from vrag.app.web import POLICY, static_files
from vrag.cli import main

TOKEN = "canary-9e107d9d372bb682"


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture(scope="module")
def server(manual: Path) -> Generator[Running]:
    with app_serving(chosen={"notes": manual}) as running:
        yield running


def text_of(name: str) -> str:
    return static_files()[name].decode()


# ----------------------------------------------------------------------------------------- its files


def test_the_page_and_all_that_it_names_are_served_under_a_policy_without_inline_scripts(server: Running):
    page = server.client.get("/")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == POLICY and "unsafe" not in POLICY
    named = set(re.findall(r'(?:href|src)="(/[^"#]+)"', page.text))
    assert {"/app/main.js", "/app/app.css", "/app/theme.css", "/app/tokens.css", "/app/icon.svg"} == named
    modules, seen = ["main.js"], set[str]()
    while modules:
        seen.add(name := modules.pop())
        modules += [one for one in re.findall(r'from "\./([\w.]+)"', text_of(name)) if one not in seen]
    assert seen == {name for name in static_files() if name.endswith(".js")}
    for path in {*named, *(f"/app/{name}" for name in seen)}:
        answer = server.client.get(path)
        assert answer.status_code == 200 and answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_link_on_another_site_opens_the_page_and_nothing_else(server: Running):
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert server.client.get("/", headers=linked).status_code == 200
    assert server.client.get("/v1/corpora", headers=linked).status_code == 403


def test_a_file_that_a_browser_has_isnt_sent_again(server: Running):
    first = server.client.get("/app/main.js")
    again = server.client.get("/app/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


@pytest.mark.parametrize("name", sorted(static_files()))
def test_no_file_of_the_app_needs_another_server_or_writes_markup(name: str):
    text = text_of(name)
    known = text.replace("http://www.w3.org/2000/svg", "")  # a name, which nothing fetches
    assert not re.search(r"""(https?:)?//[a-z0-9-]+\.[a-z]|@import|url\(""", known)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text)
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_every_element_that_a_script_asks_for_is_on_the_page():
    page = text_of("index.html")
    asked = {
        one for name in static_files() if name.endswith(".js") for one in re.findall(r'\$\("([\w-]+)"\)', text_of(name))
    }
    assert asked and not {one for one in asked if f'id="{one}"' not in page}


def test_no_other_file_can_be_had_by_any_name(server: Running):
    names = [b"..%2f__init__.py", b"%2e%2e/__init__.py", b"../../cli/app.py", b"/etc/passwd", b"static/main.js", b"%00"]
    with files_opened() as opened:
        answers = [send(server, b"GET", b"/app/" + name) for name in names]
    assert {status for status, _ in answers} == {404}
    assert opened == []


def test_the_agent_server_alone_has_no_page(manual: Path):
    with agent_serving(chosen={"notes": manual}) as server:
        assert {server.client.get(path).status_code for path in ("/", "/app/main.js", "/v1/runs")} == {404}


# ------------------------------------------------------------------------------------------ its guard


def test_with_a_token_the_page_is_free_and_nothing_else(manual: Path):
    bearing = {"Authorization": f"Bearer {TOKEN}"}
    closed = [
        "/health",
        "/v1/corpora",
        "/v1/corpora/notes",
        "/v1/runs",
        "/metrics",
        "/openapi.json",
        "/app",
        "/apps",
    ]
    with app_serving(chosen={"notes": manual}, token=TOKEN) as server:
        assert {server.client.get(path).status_code for path in ("/", "/app/main.js", "/app/app.css")} == {200}
        assert server.client.get("/app/%2e%2e/v1/corpora").status_code in (401, 404)
        assert {path for path in closed if server.client.get(path).status_code != 401} == set()
        assert server.client.get("/v1/corpora", headers=bearing).json() == {"corpora": ["notes"]}
        assert server.client.post("/", json={}).status_code == 405


# --------------------------------------------------------------------------------------- its documents


def test_paths_that_it_is_started_with_are_indexed_and_stay_the_users_own(vrag_home: Path, tmp_path: Path):
    write_pdf(tmp_path / "papers" / "ports.pdf", ["amber"])
    make_corpus(vrag_home / "corpora" / "notes", {})
    with app_serving(owed={"notes": [tmp_path / "papers"]}) as server:
        info = until_indexed(server)
        (document,) = [one for one in info["documents"] if one["name"] == "ports.pdf"]
        assert document["stored"] == 1 and not document["uploaded"]
        assert server.client.delete(f"/v1/corpora/notes/documents/{document['id']}").status_code == 409
        parts = [("files", ("more.pdf", write_pdf(tmp_path / "more.pdf", ["basalt"]).read_bytes(), "application/pdf"))]
        assert server.client.post("/v1/corpora/notes/documents", files=parts).status_code == 202
        names = {one["name"] for one in until_indexed(server, runs=2)["documents"]}
    assert {"ports.pdf", "more.pdf"} <= names and (tmp_path / "papers" / "ports.pdf").is_file()


# ------------------------------------------------------------------------------------ its command line


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_what_cant_be_shown_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("app", tmp_path / "nothing", "--port", 0, "--no-open") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert vrag("app", tmp_path, "--read-only", "--port", 0, "--no-open") == 2
    assert "--read-only" in capsys.readouterr().err
    assert vrag("app", "--runs", tmp_path / "nothing", "--port", 0, "--no-open") == 2
    assert "no folder of runs" in capsys.readouterr().err
    assert vrag("app", "--host", "0.0.0.0", "--no-open") == 2
    assert "--token-file" in capsys.readouterr().err


def test_a_browser_opens_where_there_is_one_with_the_documents_that_come(
    vrag_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("vrag.cli.app.serve_app", lambda *given: given[-1]("http://127.0.0.1:1"))
    write_pdf(tmp_path / "paper.pdf", ["amber"])
    assert vrag("app", tmp_path / "paper.pdf", "--port", 0) == 0
    assert vrag("app", tmp_path / "paper.pdf", "--port", 0, "--no-open") == 0
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert vrag("app", "--port", 0) == 0
    assert opened == ["http://127.0.0.1:1/#/documents?corpus=documents"]
    assert (vrag_home / "corpora" / "documents" / "catalog.sqlite").is_file()
