"""Rows of a dataset → pages and questions, whichever format it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from vrag.data.parquet import Dataset, Table
from vrag.data.rows import Problem, Row, image_of, text_of, texts_of
from vrag.errors import DataError

_META = ("language", "query_types", "query_format", "content_type")  # of a question; kept on its task


@dataclass(frozen=True)
class PageRow:
    """A page: its key in the dataset, its document's name if it has one, the image file as it is, and text."""

    where: str
    key: str
    document: str
    image: bytes | None
    text: str


@dataclass
class Question:
    """A question; `gold`: key of a page → its grade, 1 or more."""

    id: str
    text: str
    answers: list[str] = field(default_factory=lambda: [])
    gold: dict[str, int] = field(default_factory=lambda: {})
    meta: dict[str, Any] = field(default_factory=lambda: {})


@dataclass(frozen=True)
class Benchmark:
    """A dataset that has been looked through, but for its pages; `language` is that of the questions, None: any."""

    dataset: Dataset
    layout: Layout
    questions: list[Question]
    language: str | None = None


class Layout(Protocol):
    """One format. `problems` grows while pages and questions are read."""

    problems: list[Problem]

    def count(self) -> int: ...  # rows of pages
    def pages(self) -> Iterator[PageRow]: ...
    def questions(self, language: str | None) -> list[Question]: ...  # of one language; None: of all


def load(dataset: Dataset, language: str | None = None) -> Benchmark:
    """Read the questions. Raises `DataError` for tables in no known format, and for a dataset without questions in this
    language, gold pages, or pages.
    """
    layout = _layout_of(dataset)
    questions = layout.questions(language)
    if not any(question.gold for question in questions):
        raise DataError(f"{dataset.name}: no question has a gold page; retrieval can't be judged without")
    if layout.count() == 0:
        raise DataError(f"{dataset.name}: holds no page")
    return Benchmark(dataset, layout, questions, language)


def _layout_of(dataset: Dataset) -> Layout:
    tables = dataset.tables
    if {"corpus", "queries", "qrels"} <= tables.keys():
        return Judged(dataset)
    if len(tables) == 1:
        return Paired(dataset, next(iter(tables.values())))
    raise DataError(
        f"{dataset.name}: split {dataset.split!r} is in no format of ViDoRe: it has the tables"
        f" {', '.join(sorted(tables))}; one table of rows is read (V1), or corpus, queries and qrels (V2, V3)"
    )


class Paired:
    """V1: a row is a page and maybe a question about it. A page's key is its row's number, from 1; a question that
    several rows ask is one question with several gold pages, as in the sets' BEIR versions.
    """

    def __init__(self, dataset: Dataset, table: Table) -> None:
        self.problems: list[Problem] = []
        self._name, self._table = dataset.name, table

    def count(self) -> int:
        return self._table.count()

    def pages(self) -> Iterator[PageRow]:
        for number, row in enumerate(self._table.rows(["image"], ["text_description"]), start=1):
            text = text_of(row.values.get("text_description"))
            yield PageRow(row.where, str(number), "", image_of(row.values["image"]), text)

    def questions(self, language: str | None) -> list[Question]:
        _check_language(self._name, self._table, language)
        found: dict[str, Question] = {}
        seen: set[str] = set()
        for number, row in enumerate(self._table.rows(["query"], ["answer", *_META]), start=1):
            text = text_of(row.values["query"])
            if not text or not _speaks(row, language, seen):
                continue
            question = found.setdefault(text, Question(str(number), text, meta=_meta(row)))
            question.gold[str(number)] = 1
            _add_answers(question, row.values.get("answer"))
        _check_found(self._name, found, language, seen)
        return list(found.values())


class Judged:
    """V2 and V3: pages, questions, and judgements of pairs of them."""

    def __init__(self, dataset: Dataset) -> None:
        self.problems: list[Problem] = []
        self._name = dataset.name
        self._corpus, self._queries, self._qrels = (dataset.tables[name] for name in ("corpus", "queries", "qrels"))

    def count(self) -> int:
        return self._corpus.count()

    def pages(self) -> Iterator[PageRow]:
        seen: dict[str, str] = {}
        for row in self._corpus.rows(["corpus_id", "image"], ["doc_id", "markdown", "text_description"]):
            key = str(row.values["corpus_id"])
            if self._is_new("page", key, row, seen):
                text = text_of(row.values.get("markdown")) or text_of(row.values.get("text_description"))
                yield PageRow(row.where, key, text_of(row.values.get("doc_id")), image_of(row.values["image"]), text)

    def questions(self, language: str | None) -> list[Question]:
        _check_language(self._name, self._queries, language)
        found: dict[str, Question] = {}
        seen: dict[str, str] = {}
        languages: set[str] = set()
        for row in self._queries.rows(["query_id", "query"], ["answer", *_META]):
            id, text = str(row.values["query_id"]), text_of(row.values["query"])
            if not self._is_new("question", id, row, seen):
                continue
            if not text:
                self.problems.append(Problem(row.where, f"question {id} has no text"))
            elif _speaks(row, language, languages):
                found[id] = Question(id, text, meta=_meta(row))
                _add_answers(found[id], row.values.get("answer"))
        _check_found(self._name, found, language, languages)
        self._judge(found, seen)
        return list(found.values())

    def _judge(self, questions: dict[str, Question], known: dict[str, str]) -> None:
        """Add the gold pages; grades below 1 say that a page isn't relevant."""
        for row in self._qrels.rows(["query_id", "corpus_id", "score"], ["answer"]):
            id, key, score = (row.values[name] for name in ("query_id", "corpus_id", "score"))
            if str(id) not in known:
                self.problems.append(Problem(row.where, f"judges question {id}, which isn't in queries"))
            elif (grade := _whole(score)) is None:
                self.problems.append(Problem(row.where, f"score {score} of page {key} is no whole number"))
            elif grade >= 1 and str(id) in questions:
                gold = questions[str(id)].gold
                gold[str(key)] = max(grade, gold.get(str(key), 0))
                _add_answers(questions[str(id)], row.values.get("answer"))

    def _is_new(self, what: str, id: str, row: Row, seen: dict[str, str]) -> bool:
        """Whether no earlier row has this id; `seen`: id → where it was seen first."""
        first = seen.setdefault(id, row.where)
        if first != row.where:
            self.problems.append(Problem(row.where, f"{what} {id} is also in {first}, which is the one that is used"))
        return first == row.where


def _whole(score: Any) -> int | None:
    """A grade, also one that is written as a text."""
    try:
        return int(score) if float(score).is_integer() else None
    except (TypeError, ValueError):
        return None


def _check_language(name: str, table: Table, language: str | None) -> None:
    if language is not None and "language" not in table.columns():
        raise DataError(f"{name}: doesn't say in which language a question is; leave --language out")


def _speaks(row: Row, language: str | None, seen: set[str]) -> bool:
    spoken = text_of(row.values.get("language"))
    seen.add(spoken)
    return language is None or spoken.casefold() == language.casefold()


def _check_found(name: str, found: Iterable[object], language: str | None, seen: set[str]) -> None:
    if found:
        return
    if language is not None and seen:
        raise DataError(f"{name}: has no question in {language!r} (but {', '.join(sorted(seen))})")
    raise DataError(f"{name}: holds no question; retrieval can't be judged without")


def _add_answers(question: Question, answer: Any) -> None:
    question.answers += [text for text in texts_of(answer) if text not in question.answers]


def _meta(row: Row) -> dict[str, Any]:
    return {name: row.values[name] for name in _META if row.values.get(name)}
