"""Page ids that want out of the store: FAULTS 16. An audit hook sees every file that the process opens."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.audit import files_opened, outside, send
from tests.papers import write_pdf
from tests.serving import Running, serving
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.paths import page_file
from vrag.corpus.store import Corpus

SECRET = b"canary-8277e0910d750195"
HASH = "0" * 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = tmp_path_factory.mktemp("docs")
    write_pdf(docs / "words.pdf", ["amber"])
    folder = tmp_path_factory.mktemp("made") / "corpus"
    (folder.parent / "secret.jpg").write_bytes(SECRET)
    with Corpus.create(folder) as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Generator[Running]:
    with serving(folder) as running:
        yield running


def opened_during(server: Running, targets: list[bytes]) -> tuple[list[int], list[str]]:
    send(server, b"GET", f"/v1/pages/{HASH}-1/image".encode())  # what is opened once and for all
    with files_opened() as opened:
        answers = [send(server, b"GET", target) for target in targets]
    assert not any(SECRET in answer for _, answer in answers)
    return [status for status, _ in answers], opened


IDS = [
    b"..",
    b"../secret",
    b"..%2f..%2fsecret",
    b"%2e%2e",
    b"%2e%2e%2fsecret",
    b"%252e%252e%252fsecret",
    b"..%5csecret",
    b"/etc/passwd",
    b"//etc/passwd",
    b"%2fetc%2fpasswd",
    b"C:%5csecret",
    b"file:%2f%2f%2fetc%2fpasswd",
    b"secret.jpg",
    b"tmp",
    b"%00",
    HASH.encode() + b"-1%00",
    HASH.encode() + b"-1%0a",
    HASH.encode() + b"-1.jpg",
    HASH.encode() + b"-",
    HASH.encode() + b"-12345678",
    HASH.encode() + b"-%D9%A1",  # an Arabic digit
    HASH.upper().replace("0", "A").encode() + b"-1",
    b"..%2f" + HASH[:21].encode() + b"-1",
    b"a" * 5000,
]


def test_an_id_that_is_none_opens_nothing_outside_the_store(server: Running, folder: Path):
    targets = [b"/v1/pages/" + id + end for id in IDS for end in (b"", b"/image")]
    statuses, opened = opened_during(server, targets)
    assert set(statuses) <= {404, 422}, dict(zip(targets, statuses, strict=True))
    assert outside(folder, opened) == []


def test_bytes_that_no_path_may_hold_are_refused(server: Running, folder: Path):
    statuses, opened = opened_during(server, [b"/v1/pages/\0/image", b"/v1/pages/\xff/image", b"/v1/pages/a b/image"])
    assert set(statuses) <= {400, 404, 422} and outside(folder, opened) == []


def test_a_link_in_the_store_isnt_followed(server: Running, folder: Path):
    with Corpus.open(folder) as corpus:
        (page,) = corpus.pages()
    target = f"/v1/pages/{page.id}/image".encode()
    file = page_file(folder, page.id)
    aside = file.rename(file.with_suffix(".aside"))
    try:
        file.symlink_to(folder.parent / "secret.jpg")
        statuses, _ = opened_during(server, [target])
        assert statuses == [503]
    finally:
        file.unlink()
        aside.rename(file)
    statuses, opened = opened_during(server, [target])
    assert statuses == [200] and str(file) in opened  # the hook sees what is opened


def test_ids_that_agents_get_as_answers_hold_no_path(server: Running, folder: Path):
    answer = server.client.get("/search", params={"queries": ["amber"]})
    assert str(folder) not in answer.text and len(answer.json()[0]) == 1
