"""MMLongBench-Doc (Ma et al., NeurIPS 2024): questions about one long PDF each; about a fifth can't be answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vrag.data.benchmarks.asked import Asked, Family, Say, collect, filled, kind_of
from vrag.data.benchmarks.files import files_in
from vrag.data.parquet import Table, dataset_in
from vrag.data.rows import Problem, Row, json_rows, list_of, pages_of, text_of, texts_of
from vrag.errors import DataError

_COLUMNS = ["doc_id", "question", "answer", "evidence_pages", "evidence_sources", "answer_format"]


class MMLongBench:
    """Implements `vrag.data.benchmarks.asked.Benchmark`. Rows have no id: a task's is made of the row's number."""

    source = "mmlongbench"

    def __init__(self, folder: Path, questions: Path | Table) -> None:
        self.problems: list[Problem] = []
        self._folder, self._questions = folder, questions

    def questions(self) -> list[Asked]:
        return collect(self._numbered(), self._read, self.problems)

    def documents(self, folder: Path, dpi: int, say: Say) -> list[Path]:
        found = files_in(self._folder, ".pdf")
        if not found:
            raise DataError(f"{self._folder}: holds no PDF; the folder documents/ of the dataset belongs there")
        return found

    def _numbered(self) -> Iterator[Row]:
        if isinstance(self._questions, Path):
            rows = json_rows(self._questions, self.problems)
        else:
            rows = self._questions.rows(_COLUMNS, ["doc_type"])
        for number, row in enumerate(rows, start=1):
            yield Row(row.where, {**row.values, "number": number})

    def _read(self, row: Row) -> Asked:
        values = row.values
        form, pages = filled(values, "answer_format"), pages_of(values.get("evidence_pages"))
        answer, sources = filled(values, "answer"), texts_of(values.get("evidence_sources"))
        meta = {
            "answer": answer,
            "answer_format": form,
            "evidence_pages": pages,
            "evidence_sources": sources,
            "doc_type": text_of(values.get("doc_type")),
        }
        return Asked(
            where=row.where,
            id=f"mmlongbench-{values['number']:04d}",
            question=filled(values, "question"),
            answers=[_as_text(answer) if form == "List" else answer],
            document=filled(values, "doc_id"),
            pages=pages,
            hops=2 if len(pages) > 1 else 1,
            kind="+".join(sorted({kind_of(one) for one in sources})) or "unknown",
            source=self.source,
            meta=meta,
        )


def load(folder: Path, name: str, split: str) -> MMLongBench:
    """Raises `DataError` when the questions aren't there."""
    samples = sorted(folder.rglob("samples.json"))
    if samples:
        return MMLongBench(folder, samples[0])
    return MMLongBench(folder, next(iter(dataset_in(folder, name, split).tables.values())))


def _as_text(answer: str) -> str:
    """A list as a person writes it, for what compares texts; `answer` stays in the task's metadata as it is."""
    return ", ".join(texts_of(answer)) if list_of(answer) else answer


FAMILY = Family("mmlongbench", ("train",), lambda split: [f"data/{split}-*.parquet", "documents/*.pdf"], load)
