"""FAULTS row 4 for indexing: a full disk is one clear error; what was committed stays, a rerun goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.papers import write_report
from vrag.corpus.store import Corpus

# A limit on the size of a file stands in for a full disk where no small file system can be mounted.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from vrag.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system isn't allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def index(docs: Path, corpus: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    arguments = ["index", str(docs), "-c", str(corpus), "--workers", "1", "--ocr", "off"]
    command = ["-m", "vrag"] if limit is None else ["-c", LIMITED, str(limit)]
    return subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, check=False)


def check_stopped(stopped: subprocess.CompletedProcess[str]) -> None:
    """One line that says what to do, and no traceback."""
    assert stopped.returncode == 1
    assert "run the command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stdout == ""


def check_consistent(folder: Path) -> int:
    """Every page that is listed can be read; nothing partial lies among the pages."""
    with Corpus.open(folder) as corpus:
        pages = list(corpus.pages())
        for page in pages:
            assert corpus.image(page.id).size == (page.width, page.height)
            assert corpus.words(page.id)
        assert len(corpus.search("Report", 1000)) == len(pages)
    for file in (folder / "pages").glob("??/*"):
        assert file.read_bytes().endswith(b"\xff\xd9"), "an image is there whole or not at all"
    return len(pages)


def test_a_full_disk_stops_the_run_and_keeps_what_was_committed(small_disk: Path, tmp_path: Path):
    folder = small_disk / "corpus"
    write_report(tmp_path / "first/one.pdf", 1, 5)
    assert index(tmp_path / "first", folder).returncode == 0
    write_report(tmp_path / "many/two.pdf", 2, 300)
    check_stopped(index(tmp_path / "many", folder))
    assert check_consistent(folder) >= 5


def test_a_file_that_cannot_grow_stops_the_run_and_a_later_one_goes_on(tmp_path: Path):
    folder = tmp_path / "corpus"
    write_report(tmp_path / "docs/one.pdf", 1, 120)
    check_stopped(index(tmp_path / "docs", folder, limit=110_000))
    held = check_consistent(folder)
    assert held < 120
    assert index(tmp_path / "docs", folder).returncode == 0
    assert check_consistent(folder) == 120
