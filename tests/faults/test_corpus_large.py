"""FAULTS row 7: a document of 10,000 pages (quick: 300): flat memory, searchable early, resumable."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.papers import sentence, write_pdf
from vrag.corpus.ingest import IngestOptions, Progress, ingest
from vrag.corpus.store import Corpus

LIMIT = 1.5 * 2**30  # bytes, of the run and all its workers


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def pages(full: bool) -> int:
    return 10_000 if full else 300


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory, pages: int) -> Path:
    texts = [[f"number{number}", *(sentence(number + row) for row in range(12))] for number in range(1, pages + 1)]
    return write_pdf(tmp_path_factory.mktemp("large") / "long.pdf", texts)


def test_memory_stays_flat_search_works_early_and_a_stop_costs_a_batch(document: Path, pages: int, tmp_path: Path):
    me = psutil.Process()
    before, peak, first_hit = me.memory_info().rss, 0, 0
    options = IngestOptions(workers=2, ocr="off")

    def watch(progress: Progress) -> None:
        nonlocal peak, first_hit
        if progress.stage != "read" or progress.done % 50:
            return
        used = me.memory_info().rss - before
        peak = max(peak, used + sum(child.memory_info().rss for child in me.children()))
        if not first_hit and corpus.search("number1", 1):
            first_hit = progress.done
        if progress.done >= pages // 2 and not stopped:
            stopped.append(progress.done)
            raise Stop

    stopped: list[int] = []
    with Corpus.create(tmp_path / "corpus") as corpus:
        with pytest.raises(Stop):
            ingest([document], corpus, options, watch)
        held = corpus.count()
        assert stopped[0] - 64 <= held <= stopped[0]
        assert 0 < first_hit <= 150
        report = ingest([document], corpus, options, watch)
        assert report.pages_added == pages - held
        assert corpus.count() == pages
        assert corpus.search(f"number{pages}", 1)[0].ref.page == pages
        assert [page.ref.page for page in corpus.pages()] == list(range(1, pages + 1))
    assert 0 < peak < LIMIT
    print(f"{pages} pages, peak {peak / 2**20:.0f} MiB, searchable after {first_hit} pages")
