"""Check a benchmark against its own PDFs: what stands in each gold box is what the task says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pypdfium2 as pdfium

from vrag.data.synthetic.benchmark import Manifest
from vrag.data.tasks import read_tasks
from vrag.errors import DataError
from vrag.types import Box, Evidence, Task


def validate(out: Path) -> int:
    """The number of gold boxes in `out`, each of which holds exactly its answer or its code.

    Raises `DataError` naming the first task, document and page where that isn't so.
    """
    try:
        manifest = Manifest.model_validate_json((out / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{out / 'manifest.json'}: {error}") from error
    tasks = read_tasks(out / "tasks.jsonl")
    if len(tasks) != manifest.questions:
        raise DataError(f"{out}: {len(tasks)} tasks, but the manifest counts {manifest.questions}")
    expected: dict[str, list[tuple[Task, Evidence, str]]] = {}
    for task in tasks:
        for evidence, text in _expected(task):
            expected.setdefault(evidence.ref.document, []).append((task, evidence, text))
    return sum(_check_document(out / "documents" / name, rows) for name, rows in expected.items())


def _expected(task: Task) -> Iterator[tuple[Evidence, str]]:
    """Each hop's evidence and the text that it holds."""
    if len(task.gold) != task.hops:
        raise DataError(f"task {task.id}: {len(task.gold)} gold pages for {task.hops} hops")
    for hop, evidence in enumerate(task.gold, start=1):
        yield evidence, task.answers[0] if hop == task.hops else str(task.meta["bridge"])


def _check_document(path: Path, rows: list[tuple[Task, Evidence, str]]) -> int:
    try:
        document = pdfium.PdfDocument(path)
    except (pdfium.PdfiumError, FileNotFoundError) as error:
        raise DataError(f"{path}: {error}; synthesize the benchmark again") from error
    try:
        for task, evidence, text in rows:
            found = _text_in(document, evidence)
            if found != text:
                raise DataError(
                    f"task {task.id}: {path.name} page {evidence.ref.page} has {found!r} in the gold box, not {text!r}"
                )
    finally:
        document.close()
    return len(rows)


def _text_in(document: pdfium.PdfDocument, evidence: Evidence) -> str:
    page = document[evidence.ref.page - 1]
    width, height = page.get_size()
    box = (evidence.box or Box(x1=0, y1=0, x2=1, y2=1)).scaled(width, height)
    text = page.get_textpage()
    return text.get_text_bounded(box.x1, height - box.y2, box.x2, height - box.y1).strip()
