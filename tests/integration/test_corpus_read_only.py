"""A corpus that may only be read: a share, a snapshot without write permission."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.papers import write_report
from vrag.corpus import paths
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus

OPTIONS = IngestOptions(workers=1, ocr="off")


def unprivileged() -> list[str]:
    """What to put before a command so that it may write only where a mode says so, for root too."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and setpriv isn't there")
    return [setpriv, "--bounding-set=-dac_override"]


def vrag(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*unprivileged(), sys.executable, "-m", "vrag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def set_modes(folder: Path, *, write: bool) -> None:
    for place in (folder, *folder.rglob("*")):
        mode = place.stat().st_mode
        place.chmod(mode | 0o200 if write else mode & ~0o222)


@pytest.fixture
def folder(tmp_path: Path):
    """A corpus of three pages that nobody may write."""
    write_report(tmp_path / "docs/report.pdf", 1, 3)
    place = tmp_path / "corpus"
    with Corpus.create(place) as corpus:
        ingest([tmp_path / "docs"], corpus, OPTIONS)
    set_modes(place, write=False)
    yield place
    set_modes(place, write=True)


def held(folder: Path) -> Sequence[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_is_searched_asked_and_copied(folder: Path, tmp_path: Path):
    before = held(folder)
    found = vrag("search", "Report 1 page 2", "-c", folder, "-k", 1, "--json")
    assert [hit["ref"]["page"] for hit in json.loads(found.stdout)["hits"]] == [2], found.stderr
    asked = vrag("ask", "What is on page 2?", "-c", folder, "--json", "--out", tmp_path / "answer")
    assert json.loads(asked.stdout)["found"], asked.stderr
    copied = vrag("snapshot", tmp_path / "copy", "-c", folder)
    assert copied.returncode == 0, copied.stderr
    with Corpus.open(tmp_path / "copy") as copy:
        assert copy.count() == 3
        assert ingest([tmp_path / "docs"], copy, OPTIONS).unchanged == 1, "the copy can be written"
    assert held(folder) == before


@pytest.mark.parametrize("command", [("index",), ("corpora", "remove", "--yes")])
def test_what_would_write_says_so(folder: Path, tmp_path: Path, command: Sequence[str]):
    where = [folder] if command[0] == "corpora" else [tmp_path / "docs", "-c", folder]
    before = held(folder)
    done = vrag(*command, *where)
    assert done.returncode == 1
    assert "can't be written here" in done.stderr and "Traceback" not in done.stderr
    assert held(folder) == before


def test_it_sees_what_its_owner_adds(folder: Path, tmp_path: Path):
    script = """
import sys
from vrag.corpus.store import Corpus
with Corpus.open(sys.argv[1] + "/") as corpus:
    for _ in sys.stdin:
        print(corpus.count(), flush=True)
"""
    command = [*unprivileged(), sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin and reader.stdout

        def count() -> str:
            print("?", file=reader.stdin, flush=True)
            return reader.stdout.readline().strip() if reader.stdout else ""

        assert count() == "3"
        write_report(tmp_path / "docs/more.pdf", 2, 2)
        set_modes(folder, write=True)
        with Corpus.open(folder) as corpus:
            ingest([tmp_path / "docs"], corpus, OPTIONS)
        set_modes(folder, write=False)
        assert count() == "5"
        reader.stdin.close()


def test_what_a_killed_writer_left_in_the_log_is_not_passed_over(folder: Path, tmp_path: Path):
    """Pages that were committed are in the log alone: an older state would look whole."""
    set_modes(folder, write=True)
    catalog = paths.catalog_file(folder)
    torn = tmp_path / "torn"
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("DELETE FROM pages")
        db.commit()
        shutil.copytree(folder, torn)
    (torn / "catalog.sqlite-shm").unlink()
    assert (torn / "catalog.sqlite-wal").stat().st_size > 0
    set_modes(torn, write=False)
    try:
        done = vrag("search", "Report", "-c", torn)
    finally:
        set_modes(torn, write=True)
    assert done.returncode == 1 and "can't be written here" in done.stderr


def test_a_server_says_what_it_may_not_write(tmp_path: Path):
    script = """
import json, sys
from pathlib import Path
from tests.asking import agent_serving
document = Path(sys.argv[1]).read_bytes()
with agent_serving() as server:
    ask = server.client
    (held,) = ask.get("/v1/corpora/corpus").json()["documents"]
    done = [
        ask.post("/v1/corpora", json={"name": "new"}),
        ask.post("/v1/corpora/corpus/documents", files=[("files", ("a.pdf", document))]),
        ask.delete(f"/v1/corpora/corpus/documents/{held['id']}"),
    ]
    creates, said = ask.get("/health").json()["creates"], [[one.status_code, one.json()["detail"]] for one in done]
    print(json.dumps({"creates": creates, "uploaded": held["uploaded"], "said": said}))
"""
    home = tmp_path / "home"
    uploads = paths.uploads_folder(home / "corpora/corpus")
    write_report(tmp_path / "more.pdf", 2, 1)
    with Corpus.create(uploads.parent) as corpus:
        write_report(uploads / "report.pdf", 1, 3)
        ingest([uploads], corpus, OPTIONS)
    set_modes(home, write=False)
    environment = {**os.environ, "VRAG_HOME": str(home)}
    command = [*unprivileged(), sys.executable, "-c", script, str(tmp_path / "more.pdf")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    finally:
        set_modes(home, write=True)
    refused = [403, "the server may not write there; its log says where"]
    assert json.loads(done.stdout or done.stderr) == {"creates": False, "uploaded": True, "said": [refused] * 3}
