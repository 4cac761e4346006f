"""ViDoSeek (Wang et al., 2025) and, beside it on the Hub, SlideVQA-Refined: the reference's JSON and zips of PDFs.

SlideVQA-Refined is SlideVQA's test set with its questions rewritten, so that each has one answer in the whole corpus;
the paper's test set has its 2,020 questions.
"""

from __future__ import annotations

from pathlib import Path

from vrag.data.benchmarks.asked import Asked, Family, Say, collect
from vrag.data.benchmarks.files import files_in, unzip
from vrag.data.benchmarks.unified import read_unified
from vrag.data.rows import Problem, json_rows
from vrag.errors import DataError

_ARCHIVES = {"vidoseek": "vidoseek_pdf_document", "slidevqa_refined": "slidevqa_pdf_document"}


class ViDoSeek:
    """Implements `vrag.data.benchmarks.asked.Benchmark`."""

    def __init__(self, folder: Path, questions: Path, split: str) -> None:
        self.source, self.problems = split, list[Problem]()
        self._folder, self._questions, self._archive = folder, questions, _ARCHIVES[split]

    def questions(self) -> list[Asked]:
        rows = json_rows(self._questions, self.problems)
        return collect(rows, lambda row: read_unified(row, self.source, f"{self.source}-"), self.problems)

    def documents(self, folder: Path, dpi: int, say: Say) -> list[Path]:
        archives = sorted(self._folder.rglob(f"{self._archive}.zip"))
        if archives:
            return files_in(unzip(archives[0], folder / "documents", (".pdf",), self.problems, say), ".pdf")
        unpacked = sorted(path for path in self._folder.rglob(self._archive) if path.is_dir())
        found = files_in(unpacked[0] if unpacked else self._folder, ".pdf")
        if not found:
            raise DataError(f"{self._folder}: holds neither {self._archive}.zip nor any PDF; download it too")
        return found


def load(folder: Path, name: str, split: str) -> ViDoSeek:
    """Raises `DataError` when the split's JSON isn't there."""
    questions = sorted(folder.rglob(f"{split}.json"))
    if not questions:
        raise DataError(f"{name}: holds no {split}.json; give the folder that holds it and the documents")
    return ViDoSeek(folder, questions[0], split)


FAMILY = Family("vidoseek", tuple(_ARCHIVES), lambda split: [f"{split}.json", f"{_ARCHIVES[split]}.zip"], load)
