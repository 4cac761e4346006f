"""SlideVQA (Tanaka et al., AAAI 2023): questions about decks of twenty slides, as rows of parquet or as the
repository's JSON Lines with a folder of images for each deck.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from vrag.corpus.files import content_id_of
from vrag.corpus.options import Progress
from vrag.data.benchmarks.asked import Asked, Family, Say, collect, filled
from vrag.data.benchmarks.decks import deck_problems, write_deck
from vrag.data.parquet import Dataset, dataset_in
from vrag.data.rows import Problem, Row, image_of, json_rows, pages_of, text_of
from vrag.errors import DataError
from vrag.killpoints import killpoint

SLIDES = [f"page_{number}" for number in range(1, 21)]
_COLUMNS = ["qa_id", "question", "answer", "evidence_pages", "deck_name"]
_OPTIONAL = ["deck_url", "arithmetic_expression", "answer_type", "reasoning_type", "resoning_type"]
_KEPT = ("deck_name", "deck_url", "arithmetic_expression", "answer_type")  # on a task
_REPOSITORY = {"val": "dev"}  # what the repository calls a split


@dataclass(frozen=True)
class Deck:
    where: str
    name: str
    images: list[bytes | None]  # by page; None: it isn't there


class Layout(Protocol):
    """Where the rows are, and the images of each deck."""

    def rows(self, problems: list[Problem]) -> Iterator[Row]: ...  # without images
    def decks(self) -> Iterator[Deck]: ...  # each once


class Parquet:
    """Each row holds its deck's images anew."""

    def __init__(self, dataset: Dataset) -> None:
        self._table = next(iter(dataset.tables.values()))

    def rows(self, problems: list[Problem]) -> Iterator[Row]:
        return self._table.rows(_COLUMNS, _OPTIONAL)

    def decks(self) -> Iterator[Deck]:
        seen: set[str] = set()
        for row in self._table.rows(["deck_name", *SLIDES[:1]], SLIDES[1:]):
            name = text_of(row.values["deck_name"])
            if name and name not in seen:
                seen.add(name)
                yield Deck(row.where, name, _trimmed([image_of(row.values.get(column)) for column in SLIDES]))


class Repository:
    """annotations/qa/SPLIT.jsonl and images/SPLIT/DECK/FILE, the file being the last part of its `image_urls`."""

    def __init__(self, questions: Path, images: Path) -> None:
        self._questions, self._images = questions, images

    def rows(self, problems: list[Problem]) -> Iterator[Row]:
        return json_rows(self._questions, problems)

    def decks(self) -> Iterator[Deck]:
        seen: set[str] = set()
        for row in json_rows(self._questions, []):
            name = text_of(row.values.get("deck_name"))
            if name and name not in seen:
                seen.add(name)
                folder = self._images / name if _plain(name) else None
                urls: list[Any] = row.values.get("image_urls") or []
                yield Deck(row.where, name, [_file(folder, str(url)) for url in urls])


class SlideVQA:
    """Implements `vrag.data.benchmarks.asked.Benchmark`."""

    def __init__(self, layout: Layout, split: str) -> None:
        self.source, self.problems = f"slidevqa:{split}", list[Problem]()
        self._layout, self._split = layout, split

    def questions(self) -> list[Asked]:
        return collect(self._layout.rows(self.problems), self._read, self.problems)

    def documents(self, folder: Path, dpi: int, say: Say) -> list[Path]:
        decks = folder / "documents"
        decks.mkdir(exist_ok=True)
        failed = 0
        for made, deck in enumerate(self._layout.decks(), start=1):
            path = decks / _file_name(deck.name)
            if path.is_file():
                problems = deck_problems(path)
            else:
                problems = write_deck(path, deck.images, dpi)
                killpoint("slidevqa.deck-written")
            for page, reason in problems.items():
                failed += 1
                self.problems.append(Problem(deck.where, f"page {page} of deck {deck.name}: {reason}"))
            say(Progress("unpack", made, made, failed, deck.name))
        return [decks]

    def _read(self, row: Row) -> Asked:
        values = row.values
        pages = pages_of(values.get("evidence_pages"))
        reasoning = text_of(values.get("reasoning_type")) or text_of(values.get("resoning_type"))
        hops = 2 if "multi" in reasoning.casefold() or (not reasoning and len(pages) > 1) else 1
        deck = filled(values, "deck_name")
        kept = {name: values[name] for name in _KEPT if values.get(name)}
        if reasoning:
            kept["reasoning_type"] = reasoning
        return Asked(
            where=row.where,
            id=f"slidevqa-{self._split}-{filled(values, 'qa_id')}",
            question=filled(values, "question"),
            answers=[filled(values, "answer")],
            document=_file_name(deck),
            pages=pages,
            hops=hops,
            kind="slide",
            source=self.source,
            meta=kept,
        )


def load(folder: Path, name: str, split: str) -> SlideVQA:
    """Raises `DataError` for a folder in neither layout."""
    called = _REPOSITORY.get(split, split)
    questions = next(iter(sorted(folder.glob(f"**/qa/{called}.jsonl"))), None)
    if questions is None:
        return SlideVQA(Parquet(dataset_in(folder, name, split)), split)
    images = next(iter(sorted(folder.glob(f"**/images/{called}"))), None)
    if images is None:
        raise DataError(
            f"{name}: has {questions.name} but no folder images/{called} with the slides of each deck;"
            " download them, or use the dataset of the Hub, which holds them"
        )
    return SlideVQA(Repository(questions, images), split)


def _trimmed(images: list[bytes | None]) -> list[bytes | None]:
    """A deck has no pages after its last image."""
    while images and images[-1] is None:
        images.pop()
    return images


def _file(folder: Path | None, url: str) -> bytes | None:
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if folder is None or not _plain(name):
        return None
    file = folder / name
    return file.read_bytes() if file.is_file() else None


def _plain(name: str) -> bool:
    """Whether a name is that of a file or folder right here."""
    return name not in {"", ".", ".."} and not re.search(r"[/\\\0]", name)


def _file_name(deck: str) -> str:
    """Of a deck's PDF: its name where that can be one of a file, else one that no other deck has."""
    safe = re.sub(r"[^\w.() -]+", "_", deck)[:200].strip(". ")
    return f"{safe}.pdf" if safe == deck else f"{safe}-{content_id_of(deck.encode())[:8]}.pdf"


def _patterns(split: str) -> list[str]:
    return [f"*{split}{ending}" for ending in ("-*.parquet", "/*.parquet", ".parquet")]


FAMILY = Family("slidevqa", ("test", "val", "train"), _patterns, load)
