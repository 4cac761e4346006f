"""A dataset → a corpus of its documents and a task file of its questions. Run again, a killed run goes on.

OUT/run.json       which dataset this is: another one isn't mixed with it
OUT/documents/     documents that were unpacked or made of page images
OUT/tasks.jsonl    the questions
OUT/problems.jsonl what can't be used, or doesn't score, one a line
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus, Document, Failure
from vrag.data.benchmarks.asked import Asked, Benchmark, Say
from vrag.data.benchmarks.counts import differences, note
from vrag.data.benchmarks.shelf import Shelf
from vrag.data.rows import Problem
from vrag.data.tasks import write_tasks
from vrag.errors import DataError
from vrag.rewards.answer import rule_reward
from vrag.rewards.mmlongbench import form_of, gold_of
from vrag.rewards.mmlongbench import score as published_score
from vrag.runs import RunDir, atomic_write
from vrag.types import Evidence, Frozen, PageRef, Task


class BenchmarkReport(Frozen):
    """What came of a dataset. `failures` are rows, documents and pages that couldn't be used (stage "dataset" and
    "read"), and gold answers that don't score full marks (stage "answer"); those questions stay.
    """

    tasks: Path
    questions: int
    without_gold: int  # questions without a gold page
    lost_gold: int  # questions about a document that isn't there or can't be read
    documents: int  # of the dataset, or else of the corpus
    unread: int  # of these, that can't be read at all
    pages: int  # of these, that could be read
    hops: dict[int, int]
    kinds: dict[str, int]
    differences: list[str]  # from what is published
    note: str
    failures: list[Failure]


def build(
    benchmark: Benchmark,
    run: RunDir,
    corpus: Corpus,
    options: IngestOptions | None = None,
    say: Say = lambda _: None,
) -> BenchmarkReport:
    """Bring the documents of a dataset into `corpus`, and write its questions to `run`. Raises as `ingest` does, and
    `DataError` for a dataset without questions.
    """
    asked = benchmark.questions()
    if not asked:
        raise DataError(f"{benchmark.source}: holds no question{_first(benchmark.problems)}")
    paths = benchmark.documents(run.path, corpus.dpi, say)
    ingested = ingest(paths, corpus, options, say) if paths else None
    shelf, problems = Shelf.of(corpus, paths), benchmark.problems
    tasks = [_task(one, shelf, problems) for one in asked]
    broken = [*ingested.failures, *ingested.office.left(), *ingested.ocr.failures] if ingested else []
    failures = [*_failures(problems, "dataset"), *broken, *_failures(unscored(tasks), "answer")]
    write_tasks(run.path / "tasks.jsonl", tasks)
    lines = "".join(failure.model_dump_json() + "\n" for failure in failures)
    atomic_write(run.path / "problems.jsonl", lines.encode())
    readable = shelf.readable()
    pages = ingested.pages_here if ingested else corpus.count()
    documents = ingested.files if ingested else len(corpus.documents())
    return BenchmarkReport(
        tasks=run.path / "tasks.jsonl",
        questions=len(tasks),
        without_gold=sum(not task.gold for task in tasks),
        lost_gold=sum(task.document is not None and task.document not in readable for task in tasks),
        documents=documents,
        unread=len({failure.document for failure in broken if failure.page is None}),
        pages=pages,
        hops=dict(sorted(Counter(task.hops for task in tasks).items())),
        kinds=dict(Counter(task.kind for task in tasks).most_common()),
        differences=differences(benchmark.source, len(tasks), documents, pages),
        note=note(benchmark.source),
        failures=failures,
    )


def unscored(tasks: Sequence[Task]) -> list[Problem]:
    """Gold answers that don't earn full marks: by the rules that rewards use, and for MMLongBench-Doc by its own."""
    found: list[Problem] = []
    for task in tasks:
        where = f"task {task.id}"
        if not task.answers:
            found.append(Problem(where, "has no gold answer: no answer to it is ever right"))
        found += [
            Problem(where, f"the gold answer {answer[:60]!r} doesn't score 1.0 by the rules")
            for answer in task.answers
            if rule_reward(answer, task.answers).score < 1.0
        ]
        form, gold = form_of(task), gold_of(task)
        if form is not None and published_score(gold, gold, form) < 1.0:
            reason = f"the gold answer {gold[:60]!r} doesn't score 1.0 by MMLongBench-Doc's own rule for {form}"
            found.append(Problem(where, reason))
    return found


def _task(asked: Asked, shelf: Shelf, problems: list[Problem]) -> Task:
    """With the pages that there are. A page of a document that can't be read stays a gold page, which nothing finds, so
    that figures compare with others'.
    """
    document = _document(asked, shelf, problems)
    name = document.name if document else asked.document or None
    return Task(
        id=asked.id,
        question=asked.question,
        answers=asked.answers,
        gold=[Evidence(ref=PageRef(document=name, page=page)) for page in _pages(asked, document, problems) if name],
        hops=asked.hops,
        kind=asked.kind,
        source=asked.source,
        document=name,
        meta=asked.meta,
    )


def _document(asked: Asked, shelf: Shelf, problems: list[Problem]) -> Document | None:
    if asked.document:
        try:
            return shelf.find(asked.document)
        except DataError as error:
            problems.append(Problem(asked.where, f"{asked.id}: {error}"))
    elif asked.pages:
        problems.append(Problem(asked.where, f"{asked.id}: has gold pages and no document"))
    return None


def _pages(asked: Asked, document: Document | None, problems: list[Problem]) -> list[int]:
    last = document.pages if document else None
    wrong = [page for page in asked.pages if page < 1 or (last is not None and page > last)]
    for page in wrong:
        of = f"{asked.document!r} has pages 1 to {last}" if last else "pages count from 1"
        problems.append(Problem(asked.where, f"{asked.id}: no page {page}: {of}; it is left out of the gold pages"))
    return [page for page in asked.pages if page not in wrong]


def _failures(problems: Sequence[Problem], stage: str) -> list[Failure]:
    return [
        Failure(document=one.where, page=None, stage=stage, kind=DataError.__name__, reason=one.reason)
        for one in problems
    ]


def _first(problems: Sequence[Problem]) -> str:
    """The first of the reasons, of a dataset of which nothing is left."""
    if not problems:
        return ""
    return f" that can be used ({len(problems)} can't; the first: {problems[0].where}: {problems[0].reason})"
