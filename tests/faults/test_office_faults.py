"""FAULTS rows 5 and 6, for office documents: a LibreOffice that hangs, crashes or makes nonsense costs one document."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.offices import fake_soffice, write_docx
from tests.papers import write_pdf
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus, Failure

OPTIONS = IngestOptions(workers=1, ocr="off")
HANGS = "sleep 600 & echo $! >> {log}; wait"


@pytest.fixture
def corpus(tmp_path: Path) -> Generator[Corpus]:
    with Corpus.create(tmp_path / "corpus") as made:
        yield made


@pytest.fixture
def soffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a fake on the PATH; its log."""

    def put(does: str) -> Path:
        folder = tmp_path / "bin"
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return fake_soffice(folder, does.replace("{log}", str(folder / "log")))

    return put


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()]


def waits_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run(corpus: Corpus, docs: Path, options: IngestOptions = OPTIONS) -> list[Failure]:
    """With a healthy neighbour, whose page is there afterwards."""
    write_pdf(docs / "healthy.pdf", ["amber"])
    report = ingest([docs], corpus, options)
    assert len(corpus.search("amber", 5)) == 1
    assert [file for file in (corpus.folder / "converted").rglob("*") if file.is_file()] == []
    return report.failures


FAILS = {  # what LibreOffice does with a document → how the failure is called
    "echo source file could not be loaded": "exit status 0.*could not be loaded",
    'echo nonsense > "$out/document.pdf"': "exit status 0.*it says nothing",
    "echo no room >&2; exit 3": "exit status 3.*no room",
    "kill -SEGV $$": "signal 11",
    'printf "%%P%s" "DF-1.7 nonsense" > "$out/document.pdf"': "pdfium can't open it",
    'mkdir "$out/document.pdf"': "makes no PDF",
}


def test_a_conversion_that_fails_is_named_and_not_tried_again_unless_asked(
    corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    log = soffice("""eval "$(sed 's/.*does: //' "$1")" """)
    docs = tmp_path / "docs"
    docs.mkdir()
    for number, does in enumerate(FAILS):
        (docs / f"{number}.html").write_text(f"<html> does: {does}")
    for _ in range(2):
        failures = run(corpus, docs)
        assert {(failure.page, failure.kind) for failure in failures} == {(None, "UnreadableDocument")}
        assert [failure.document for failure in failures] == [f"{number}.html" for number in range(len(FAILS))]
        for failure, reason in zip(failures, FAILS.values(), strict=True):
            assert re.search(reason, failure.reason), failure.reason
        assert len(pids(log)) == len(FAILS)
    soffice(f'cp {write_pdf(tmp_path / "made.pdf", ["kelp"])} "$out/document.pdf"')
    assert run(corpus, docs, replace(OPTIONS, retry_failed=True)) == []
    assert len(corpus.search("kelp", 9)) == len(FAILS)


def test_a_conversion_that_hangs_is_killed_with_what_it_started(
    corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    log, docs = soffice(HANGS), write_docx(tmp_path / "docs/slow.docx", ["x"]).parent
    [failure] = run(corpus, docs, replace(OPTIONS, office_seconds=0.5))
    assert (failure.document, failure.kind) == ("slow.docx", "BudgetExceeded")
    assert failure.reason == "converting it took longer than 0.5 s"
    assert len(pids(log)) == 2
    waits_for(lambda: all(map(is_gone, pids(log))))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_takes_the_conversion_with_it(
    how: signal.Signals, corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    log, docs = soffice(HANGS), write_docx(tmp_path / "docs/slow.docx", ["x"]).parent
    code = "import sys; from vrag.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "index", str(docs), "-c", str(corpus.folder), "--workers", "1"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts in the background ignores it
    with subprocess.Popen([*command, "--ocr", "off"], stderr=subprocess.DEVNULL, preexec_fn=heard) as running:
        waits_for(lambda: len(pids(log)) == 2)
        running.send_signal(how)
        assert running.wait(30) == (130 if how is signal.SIGINT else -how)
    waits_for(lambda: all(map(is_gone, pids(log))))


def test_memory_is_limited_and_the_profile_and_temporary_files_are_its_own(
    corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    seen = tmp_path / "seen"
    soffice(f'ulimit -v >> {seen}; echo "$TMPDIR" >> {seen}; ls "$out/profile/user" >> {seen}; exit 1')
    docs = tmp_path / "docs"
    for name in ("a", "b"):
        write_docx(docs / f"{name}.docx", [name])
    assert len(run(corpus, docs, replace(OPTIONS, office_memory=3 << 30))) == 2
    limit, temporary, profile, *_ = seen.read_text().split()
    assert int(limit) * 1024 == 3 << 30 and profile == "registrymodifications.xcu"
    assert Path(temporary).is_relative_to(corpus.folder / "converted/tmp")


def test_a_libreoffice_that_only_fails_is_given_up_and_the_others_wait(
    corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    log, docs = soffice("exit 1"), tmp_path / "docs"
    for number in range(10):
        write_docx(docs / f"{number}.docx", [str(number)])
    report = ingest([docs], corpus, OPTIONS)
    assert len(report.failures) == len(pids(log)) == 8
    assert report.office.waiting == ["8.docx", "9.docx"] and "first 8" in (report.office.not_done or "")
    assert len(ingest([docs], corpus, OPTIONS).failures) == 10, "these are tried by the next run"


def test_an_archive_that_is_no_document_and_a_damaged_one_are_named(
    corpus: Corpus, tmp_path: Path, soffice: Callable[[str], Path]
) -> None:
    log, docs = soffice("exit 1"), tmp_path / "docs"
    docs.mkdir()
    (docs / "cut.docx").write_bytes(write_docx(tmp_path / "x", ["x"]).read_bytes()[:200])
    (docs / "locked.xlsx").write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99) + "EncryptedPackage".encode("utf-16-le")
    )
    reasons = {failure.document: failure.reason for failure in run(corpus, docs)}
    assert "damaged" in reasons["cut.docx"] and "without the password" in reasons["locked.xlsx"]
    assert pids(log) == [], "LibreOffice never saw them"
