"""FTS5 and tantivy over the same corpus of real text: time to build, time of a search, and what is found.

    python benchmarks/text_search/run.py FOLDER [--pages 16000] [--queries 200]

FOLDER holds PDFs, at any depth (README.md says which). Their pages' texts are read by pdfium, without rendering, and
written to a corpus as `vrag index` writes it; pages of the same text count once. Searches go through `Corpus.search`,
one after the other, each query to both. Two kinds of queries whose page is known:

quote     eight words of a page as they stand there
question  three words of a page that at most a tenth of the pages have, in a sentence of common words

Other work on the machine disturbs times by the clock; CPU time of the searching thread is given beside them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pypdfium2

from vrag.corpus import following
from vrag.corpus.files import Found
from vrag.corpus.store import Corpus
from vrag.corpus.writer import Writer
from vrag.errors import CorpusError
from vrag.index.lexical import index_text
from vrag.index.tokens import page_tokens
from vrag.types import PageRef

K, LEAST = 10, 30  # hits that are looked at; words of a page that counts
SENTENCES = (
    "What does the manual say about {} and {} in the {}?",
    "How is the {} used with {} and {}?",
    "Where is it said that the {} of {} is {}?",
)


@dataclass(frozen=True)
class Known:
    """A query, and the page it was made of."""

    text: str
    page: PageRef


@dataclass
class Marks:
    """What is known of the searches of one index for one kind of query."""

    clock: list[float]  # ms
    cpu: list[float]
    ranks: list[int | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=16_000)
    parser.add_argument("--queries", type=int, default=200, help="of each kind")
    options = parser.parse_args()
    rng = random.Random(0)
    texts = list(islice(read(options.folder, rng), options.pages))
    print(f"{len(texts)} pages, {statistics.mean(len(text.split()) for text in texts):.0f} words each", file=sys.stderr)
    with tempfile.TemporaryDirectory() as root:
        corpora = build(Path(root), texts)
        kinds = {"quote": quotes(texts, options.queries, rng), "question": questions(texts, options.queries, rng)}
        print(f"load {os.getloadavg()[0]:.1f}\n")
        print("| queries | index | p50 ms | p95 ms | p50 ms CPU | p95 ms CPU | recall@10 | MRR | overlap@10 |")
        print("|---|---|---|---|---|---|---|---|---|")
        for kind, queries in kinds.items():
            report(kind, queries, corpora)
        for corpus in corpora.values():
            corpus.close()


def read(folder: Path, rng: random.Random) -> Iterator[str]:
    """Texts of pages, each once, file by file in a random order; what can't be read is left out."""
    seen: set[int] = set()
    files = sorted(folder.rglob("*.pdf"))
    rng.shuffle(files)
    for file in files:
        try:
            document = pypdfium2.PdfDocument(file)
        except pypdfium2.PdfiumError:
            continue
        with closing(document):
            for number in range(len(document)):
                text = page_text(document, number)
                if len(text.split()) >= LEAST and hash(text) not in seen:
                    seen.add(hash(text))
                    yield text


def page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    try:
        with closing(document[number]) as page, closing(page.get_textpage()) as layer:
            return layer.get_text_range().replace("\r\n", "\n").encode("utf-8", "replace").decode()
    except pypdfium2.PdfiumError:
        return ""


def build(root: Path, texts: Sequence[str]) -> dict[str, Corpus]:
    """The corpus with FTS5 alone, and with tantivy beside it; prints how fast each was made."""
    began = time.process_time()
    plain = {"width": 1, "height": 1, "words": "", "scanned": False}
    pages = [{"page": number, "text": text, "index": index_text(text), **plain} for number, text in enumerate(texts, 1)]
    print(f"tokens: {len(texts) / (time.process_time() - began):.0f} pages/s of CPU time", file=sys.stderr)
    corpora: dict[str, Corpus] = {}
    for name in ("fts5", "tantivy"):
        corpora[name] = Corpus.create(root / name)
        began, clock = time.process_time(), time.perf_counter()
        with closing(Writer(root / name)) as writer:
            writer.register(Found("/manuals.pdf", "manuals.pdf", 1, 1), "0" * 24)
            seq = writer.sources()["/manuals.pdf"].document
            if seq is None:
                raise CorpusError("the document wasn't registered")
            for page in pages:
                writer.add_page(seq, page)
                writer.commit_when_due()
            writer.commit()
        if name == "fts5":
            size = sum(file.stat().st_size for file in root.rglob("catalog*"))
            told("fts5 (with the catalogue)", len(texts), began, clock, size)
    began, clock = time.process_time(), time.perf_counter()
    following.choose(root / "tantivy", "tantivy")
    following.follow(root / "tantivy")
    size = sum(file.stat().st_size for file in (root / "tantivy/tantivy").iterdir())
    told("tantivy (from the catalogue)", len(texts), began, clock, size)
    return corpora


def told(name: str, pages: int, began: float, clock: float, size: int) -> None:
    cpu, seconds = time.process_time() - began, time.perf_counter() - clock
    print(f"{name}: {pages / cpu:.0f} pages/s of CPU time, {pages / seconds:.0f} by the clock, {size / 1e6:.0f} MB")


def quotes(texts: Sequence[str], count: int, rng: random.Random) -> list[Known]:
    found: list[Known] = []
    for number in rng.choices(range(len(texts)), k=count):
        words = texts[number].split()
        start = rng.randrange(len(words) - 7)
        found.append(Known(" ".join(words[start : start + 8]), PageRef(document="manuals.pdf", page=number + 1)))
    return found


def questions(texts: Sequence[str], count: int, rng: random.Random) -> list[Known]:
    frequency = Counter[str]()
    for text in texts:
        frequency.update(set(page_tokens(text)))
    found: list[Known] = []
    while len(found) < count:
        number = rng.randrange(len(texts))
        tokens = sorted(set(page_tokens(texts[number])))
        telling = [t for t in tokens if t.isalpha() and len(t) > 3 and 2 <= frequency[t] <= len(texts) / 10]
        if len(telling) >= 10:
            query = rng.choice(SENTENCES).format(*rng.sample(telling, 3))
            found.append(Known(query, PageRef(document="manuals.pdf", page=number + 1)))
    return found


def report(kind: str, queries: Sequence[Known], corpora: dict[str, Corpus]) -> None:
    """Ask every query of each corpus in turn, and print a line for each corpus."""
    marks = {name: Marks([], [], []) for name in corpora}
    shared: list[float] = []
    for query in [*queries[:10], *queries]:
        found = {name: ask(corpus, query, marks[name]) for name, corpus in corpora.items()}
        shared.append(len(set.intersection(*map(set, found.values()))) / K)
    for name, mark in marks.items():
        clock, cpu, ranks = mark.clock[10:], mark.cpu[10:], mark.ranks[10:]  # the first ten warm up
        times = " | ".join(f"{share:.2f}" for side in (clock, cpu) for share in (at(side, 0.5), at(side, 0.95)))
        recall = sum(rank is not None for rank in ranks) / len(ranks)
        mrr = statistics.mean(1 / rank if rank else 0 for rank in ranks)
        print(
            f"| {kind} | {name} | {times} | {recall:.3f} | {mrr:.3f} | {statistics.mean(shared[10:]):.2f} |", flush=True
        )


def ask(corpus: Corpus, query: Known, marks: Marks) -> list[str]:
    clock, cpu = time.perf_counter(), time.thread_time()
    hits = corpus.search(query.text, K)
    marks.cpu.append(1000 * (time.thread_time() - cpu))
    marks.clock.append(1000 * (time.perf_counter() - clock))
    pages = [hit.ref for hit in hits]
    marks.ranks.append(pages.index(query.page) + 1 if query.page in pages else None)
    return [hit.page_id for hit in hits]


def at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
