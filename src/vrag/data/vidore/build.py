"""A dataset → a corpus of its pages and a task file of its questions. Run again, a killed run goes on.

OUT/run.json                which dataset this is: another one isn't mixed with it
OUT/pages/[DOCUMENT/]KEY.*  the image files as they are in the dataset; what `vrag index` reads
OUT/tasks.jsonl             the questions, or tasks-LANGUAGE.jsonl
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vrag.corpus.files import content_id_of
from vrag.corpus.ingest import IngestOptions, IngestReport, Progress, ingest
from vrag.corpus.paths import page_id
from vrag.corpus.store import Corpus, Failure
from vrag.data.parquet import Dataset
from vrag.data.rows import Problem
from vrag.data.tasks import write_tasks
from vrag.data.vidore.layouts import Benchmark, Layout, PageRow, Question
from vrag.errors import DataError
from vrag.killpoints import killpoint
from vrag.runs import RunDir, atomic_write
from vrag.types import Evidence, Frozen, PageRef, Task

_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"II": ".tif", b"MM": ".tif"}


class BuildReport(Frozen):
    """What came of a dataset. `failures` are rows and pages that couldn't be used."""

    tasks: Path
    rows: int
    pages: int  # different ones, in the corpus
    pages_with_text: int  # from the dataset
    questions: int
    grades: dict[int, int]  # grade → gold pages that have it
    failures: list[Failure]


def build(
    benchmark: Benchmark,
    out: Path,
    corpus: Corpus,
    options: IngestOptions | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    *,
    overwrite: bool = False,
) -> BuildReport:
    """Bring the pages of a dataset into `corpus`, and write its questions to `out`.

    A gold page that can't be read stays a gold page, which nothing finds, so that figures compare with others'. Raises
    `UsageError` when `out` holds another dataset, which `overwrite` deletes, and as `ingest` does.
    """
    layout = benchmark.layout
    run = RunDir.open(out, _identity(benchmark.dataset), overwrite=overwrite)
    unpacked = Unpacked(run.path / "pages")
    _unpack(layout, unpacked, progress)
    ingested = ingest([unpacked.folder], corpus, options, progress, unpacked.page_texts())
    refs, problems = unpacked.refs(corpus), layout.problems
    tasks = [_task(question, refs, problems, benchmark.dataset) for question in benchmark.questions]
    name = f"tasks-{_safe(benchmark.language.casefold())}.jsonl" if benchmark.language else "tasks.jsonl"
    write_tasks(run.path / name, tasks)
    return _report(run.path / name, layout, unpacked, tasks, ingested)


@dataclass
class Unpacked:
    """The pages of a dataset on disk; equal image files are one page, whatever their keys."""

    folder: Path
    contents: dict[str, str] = field(default_factory=lambda: {})  # key → content
    names: dict[str, str] = field(default_factory=lambda: {})  # content → its file, relative to `folder`
    texts: dict[str, list[str]] = field(default_factory=lambda: {})  # content → its different texts
    where: dict[str, str] = field(default_factory=lambda: {})  # file → the row that it is from
    lost: list[str] = field(default_factory=lambda: [])  # keys of pages without an image
    taken: set[str] = field(default_factory=lambda: set[str]())  # names, as file systems without cases see them

    def add(self, page: PageRow, image: bytes) -> None:
        content = content_id_of(image)
        self.contents[page.key] = content
        if content not in self.names:
            name = self._name(page, image, content)
            _write(self.folder / name, image)
            self.names[content], self.where[name] = name, page.where
        texts = self.texts.setdefault(content, [])
        if page.text and page.text not in texts:
            texts.append(page.text)

    def _name(self, page: PageRow, image: bytes, content: str) -> str:
        """A safe name in a folder of the document; two keys that become one name are told apart by their content."""
        key = f"{int(page.key):06d}" if page.key.isdecimal() else _safe(page.key)
        stem = f"{_safe(page.document)}/{key}" if page.document else key
        suffix = next((ending for start, ending in _SUFFIXES.items() if image.startswith(start)), ".png")
        name = f"{stem}{suffix}"
        if name.casefold() in self.taken:
            name = f"{stem}-{content}{suffix}"
        self.taken.add(name.casefold())
        return name

    def page_texts(self) -> dict[str, str]:
        return {page_id(content, 1): "\n\n".join(texts) for content, texts in self.texts.items() if texts}

    def refs(self, corpus: Corpus) -> dict[str, PageRef]:
        """What the corpus calls each page, by key; a page that it couldn't read, by the name of its file."""
        stored = corpus.refs([page_id(content, 1) for content in self.names])
        read = {
            key: stored.get(page_id(content, 1), PageRef(document=self.names[content], page=1))
            for key, content in self.contents.items()
        }
        return {**{key: _nowhere(key) for key in self.lost}, **read}


def _identity(dataset: Dataset) -> dict[str, str | None]:
    name = dataset.name if dataset.revision else str(Path(dataset.name).expanduser().resolve())
    return {"dataset": name, "revision": dataset.revision, "split": dataset.split}


def _unpack(layout: Layout, unpacked: Unpacked, progress: Callable[[Progress], None]) -> None:
    total = layout.count()
    for done, page in enumerate(layout.pages(), start=1):
        if page.image is None:
            unpacked.lost.append(page.key)
            layout.problems.append(Problem(page.where, f"page {page.key} has no image"))
        else:
            unpacked.add(page, page.image)
        progress(Progress("unpack", done, total, len(layout.problems), page.where))


def _write(path: Path, data: bytes) -> None:
    """A file that is there already, from an earlier run, stays: its time tells `ingest` that it is unchanged."""
    if not (path.is_file() and path.read_bytes() == data):
        atomic_write(path, data)
    killpoint("vidore.page-unpacked")


def _task(question: Question, refs: Mapping[str, PageRef], problems: list[Problem], dataset: Dataset) -> Task:
    grades: dict[PageRef, int] = {}
    for key, grade in question.gold.items():
        if key not in refs:
            problems.append(Problem(f"question {question.id}", f"no page has the key {key} of its gold page"))
        ref = refs.get(key, _nowhere(key))
        grades[ref] = max(grade, grades.get(ref, 0))
    return Task(
        id=question.id,
        question=question.text,
        answers=question.answers,
        gold=[Evidence(ref=ref, relevance=grade) for ref, grade in grades.items()],
        source=f"{dataset.name}:{dataset.split}",
        meta=question.meta,
    )


def _report(file: Path, layout: Layout, unpacked: Unpacked, tasks: list[Task], ingested: IngestReport) -> BuildReport:
    grades = [gold.relevance for task in tasks for gold in task.gold]
    broken = [
        failure.model_copy(update={"document": f"{failure.document}, {unpacked.where[failure.document]}"})
        if failure.document in unpacked.where
        else failure
        for failure in [*ingested.failures, *ingested.ocr.failures]
    ]
    rows = [
        Failure(document=problem.where, page=None, stage="dataset", kind=DataError.__name__, reason=problem.reason)
        for problem in layout.problems
    ]
    return BuildReport(
        tasks=file,
        rows=layout.count(),
        pages=ingested.pages_here,
        pages_with_text=len(unpacked.page_texts()),
        questions=len(tasks),
        grades={grade: grades.count(grade) for grade in sorted(set(grades))},
        failures=[*rows, *broken],
    )


def _nowhere(key: str) -> PageRef:
    """What a gold page is called that isn't there."""
    return PageRef(document=f"page {key}", page=1)


def _safe(text: str) -> str:
    """A name for a file, whatever stands in a dataset."""
    return re.sub(r"[^\w-]+", "_", text)[:100].strip("_") or "page"
