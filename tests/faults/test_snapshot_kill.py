"""FAULTS row 1 for snapshots: one that is killed anywhere leaves nothing at its place, harms nothing, and can be made
by the next run.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.colours import COLOURS, ColourEncoder
from tests.papers import write_report
from tests.vectors import DIM, a_page, a_query
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.snapshot import snapshot
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import CorpusError
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import EncoderName
from vrag.retriever import open_retriever

INDEX = """
import sys
from pathlib import Path
from vrag.index.embedded import EmbeddedIndex
EmbeddedIndex.open(Path(sys.argv[1]), kernel="numpy").snapshot(Path(sys.argv[2]))
"""
CORPUS = "import sys; from vrag.cli import main; main(['snapshot', sys.argv[2], '--corpus', sys.argv[1]])"


def killed(program: str, source: Path, target: Path, point: str) -> bool:
    env = {**os.environ, "VRAG_KILL_AT": point}
    return subprocess.run([sys.executable, "-c", program, str(source), str(target)], env=env).returncode == -9


@pytest.mark.parametrize("point", ["index.snapshot-begun", "index.snapshot-shared:2", "staging.before-rename"])
def test_a_snapshot_of_vectors_that_is_killed_leaves_no_index_and_the_next_run_makes_it(tmp_path: Path, point: str):
    source, target, query = tmp_path / "vectors", tmp_path / "copy", a_query(0, a_page(3))
    EmbeddedIndex.create(source, DIM, "an encoder").close()
    with_pages = EmbeddedIndex.open(source, kernel="numpy")
    with_pages.upsert([a_page(number) for number in range(9)])
    before = with_pages.search(query, 9, exact=True)
    assert killed(INDEX, source, target, point)
    with pytest.raises(CorpusError, match="no vector index"):
        EmbeddedIndex.open(target)
    with_pages.snapshot(target)
    assert EmbeddedIndex.open(target, kernel="numpy").search(query, 9, exact=True) == before
    assert with_pages.search(query, 9, exact=True) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy", "vectors"]


@pytest.mark.parametrize("point", ["index.snapshot-shared:1", "snapshot.image-shared:4", "snapshot.before-done"])
def test_a_snapshot_of_a_corpus_that_is_killed_leaves_no_corpus_and_the_next_run_makes_it(tmp_path: Path, point: str):
    source, target = tmp_path / "corpus", tmp_path / "copy"
    write_report(tmp_path / "docs/report.pdf", 1, 6)
    with Corpus.create(source) as corpus:
        ingest([tmp_path / "docs"], corpus, IngestOptions(workers=1, ocr="off"))
        encoder = ColourEncoder()
        embed(corpus, encoder, make_index(corpus, encoder, EncoderName(name="tests.colours:ColourEncoder")))
        assert killed(CORPUS, source, target, point)
        with pytest.raises(CorpusError, match="no corpus"):
            Corpus.open(target)
        report = snapshot(corpus, target)
        assert (report.pages, report.vectors, report.without_image) == (6, 6, [])
        with Corpus.open(target) as copy:
            for query in ("Report 1 page 2", next(iter(COLOURS))):
                ways = [asyncio.run(open_retriever(one, "fused").search(query, 9)) for one in (corpus, copy)]
                assert ways[0] == ways[1]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy", "corpus", "docs"]
