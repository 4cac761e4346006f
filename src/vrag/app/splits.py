"""Documents of the synthetic benchmark, indexed once, and environments over them. Needs no model library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.paths import is_corpus
from vrag.corpus.store import Corpus
from vrag.data.synthetic import SyntheticSpec, synthesize
from vrag.data.tasks import read_tasks
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.protocols import PageStore
from vrag.retriever import LexicalRetriever
from vrag.types import Task
from vrag.views import ViewRenderer

SEEN = 15_000  # images of which views and features are kept, 0.8 MB each: all pages, and most crops that come again


@dataclass(frozen=True)
class SplitData:
    """One split, indexed: its corpus, its tasks, and environments over it that share rendered views."""

    corpus: Corpus
    tasks: list[Task]
    environment: EnvironmentConfig
    renderer: ViewRenderer

    @property
    def pages(self) -> str:
        """How many, in words."""
        return f"{self.corpus.count()} pages"

    def make_environment(self, environment: EnvironmentConfig | None = None) -> DocumentEnvironment:
        """An environment of this split; with other settings when they are given."""
        settings = environment or self.environment
        return DocumentEnvironment(self.corpus, LexicalRetriever(self.corpus), settings, self.renderer)


def open_split(spec: SyntheticSpec, dpi: int, environment: EnvironmentConfig, out: Path) -> SplitData:
    """Write and index the documents of a split (what is there already stays), and open them."""
    name = spec.split if spec.first == 1 else f"{spec.split}-{spec.first}"
    folder, place = out / "data" / name, out / "corpus" / name
    if not (folder / "manifest.json").exists():
        synthesize(folder, spec)
    corpus = Corpus.open(place) if is_corpus(place) else Corpus.create(place, dpi=dpi)
    ingest([folder / "documents"], corpus, IngestOptions(ocr="off"))
    return SplitData(corpus, read_tasks(folder / "tasks.jsonl"), environment, view_renderer(corpus))


def view_renderer(store: PageStore) -> ViewRenderer:
    """One that keeps what is shown again and again."""
    return ViewRenderer(store, capacity=SEEN, pages=32)
