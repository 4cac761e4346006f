"""Retrieval measured on questions with gold pages."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import ir_measures as ir
import pytest

from tests.papers import write_pdf
from vrag.cli import main
from vrag.errors import DataError, InfrastructureError
from vrag.evaluation.retrieval import Found, RetrievalSummary, evaluate_retrieval
from vrag.runs import RunDir
from vrag.testing import FixedRetriever
from vrag.types import Evidence, Hit, PageRef, Task


def ref(page: int) -> PageRef:
    return PageRef(document="a.pdf", page=page)


def a_task(name: str, *gold: int, grades: tuple[int, ...] = ()) -> Task:
    graded = zip(gold, grades or [1] * len(gold), strict=True)
    return Task(id=name, question=name, gold=[Evidence(ref=ref(page), relevance=grade) for page, grade in graded])


class Ranked:
    """Finds the pages that it was given for each question; counts what it was asked."""

    def __init__(self, **pages: list[int]) -> None:
        self._pages, self.asked = pages, list[str]()

    async def search(self, query: str, k: int) -> list[Hit]:
        self.asked.append(query)
        return [Hit(page_id=str(page), ref=ref(page), score=-page) for page in self._pages[query][:k]]


TASKS = [a_task("one", 3), a_task("two", 1, 2, 4, 5, 6, 7), a_task("none")]
FOUND = {"one": [9, 3, 8], "two": [2, 9, 8, 1, 4, 10, 11]}


def run(path: Path, tasks: list[Task] = TASKS, **retrievers: object):
    opened = RunDir.open(path, {"of": "a test"})
    return asyncio.run(evaluate_retrieval(opened, tasks, retrievers))  # type: ignore[arg-type]


def check(summary: RetrievalSummary, tasks: list[Task], found: dict[str, list[int]]) -> None:
    """Every number is that of ir-measures, which asks trec_eval."""
    qrels = [ir.Qrel(task.id, str(gold.ref.page), gold.relevance) for task in tasks for gold in task.gold]
    scored = [ir.ScoredDoc(name, str(page), -rank) for name, pages in found.items() for rank, page in enumerate(pages)]
    wanted = {ir.nDCG @ 5: summary.ndcg[5], ir.nDCG @ 10: summary.ndcg[10], ir.RR: summary.mrr}
    wanted |= {ir.R @ k: summary.recall[k] for k in (1, 5, 10)}
    measured = ir.calc_aggregate(list(wanted), qrels, scored)
    assert {str(k): one.value for k, one in wanted.items() if one} == pytest.approx(
        {str(k): value for k, value in measured.items()}
    )


def test_the_numbers_are_those_of_ir_measures(tmp_path: Path):
    (summary,) = run(tmp_path / "run", text=Ranked(**FOUND))
    check(summary, TASKS, FOUND)
    assert summary.questions == 2


@pytest.mark.parametrize("seed", range(5))
def test_so_are_the_numbers_of_graded_pages(tmp_path: Path, seed: int):
    rng = random.Random(seed)
    tasks, found = [], {}
    for name in "abcdefgh":
        gold = rng.sample(range(1, 30), rng.randint(1, 14))
        tasks.append(a_task(name, *gold, grades=tuple(rng.randint(1, 3) for _ in gold)))
        found[name] = rng.sample(range(1, 30), rng.randint(0, 10))
    (summary,) = run(tmp_path / "run", tasks, text=Ranked(**found))
    check(summary, tasks, {name: pages for name, pages in found.items() if pages} | {"none": [1]})


def test_a_page_that_is_gold_twice_counts_once_by_its_highest_grade(tmp_path: Path):
    twice, once = a_task("q", 1, 2, 1, grades=(1, 1, 3)), a_task("q", 1, 2, grades=(3, 1))
    found = Ranked(q=[2, 1])
    (one,), (other,) = run(tmp_path / "a", [twice], text=found), run(tmp_path / "b", [once], text=found)
    assert (one.ndcg, one.recall, one.mrr) == (other.ndcg, other.recall, other.mrr)


def test_a_rerun_asks_only_what_is_owed(tmp_path: Path):
    first = run(tmp_path / "run", text=Ranked(**FOUND))
    again = Ranked(**FOUND)
    assert run(tmp_path / "run", text=again) == first
    assert again.asked == []
    both = run(tmp_path / "run", text=again, visual=again)
    assert again.asked == ["one", "two"] and [one.by for one in both] == ["text", "visual"]


def test_a_failure_is_counted_enters_no_number_and_is_asked_again(tmp_path: Path):
    (down,) = run(tmp_path / "run", text=FixedRetriever(error=InfrastructureError("down")))
    assert (down.questions, down.errored, down.mrr, down.recall) == (2, 2, None, {})
    rows = [Found.model_validate_json(line) for line in (tmp_path / "run/found.jsonl").read_text().splitlines()]
    assert {row.error for row in rows} == {"down"}
    (up,) = run(tmp_path / "run", text=Ranked(**FOUND))
    assert up.errored == 0 and up.mrr is not None


def test_questions_without_gold_pages_cannot_be_judged(tmp_path: Path):
    opened = RunDir.open(tmp_path, {"of": "a test"})
    with pytest.raises(DataError, match="gold pages"):
        asyncio.run(evaluate_retrieval(opened, TASKS[2:], {"text": Ranked()}))


def test_the_command_line_compares_what_the_corpus_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/a.pdf", ["amber basalt", "cobalt dune", "ember"])
    tasks = [
        Task(id=w, question=w, gold=[Evidence(ref=ref(n))]) for n, w in enumerate(("basalt", "cobalt", "ember"), 1)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(task.model_dump_json() for task in tasks))
    main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"])
    capsys.readouterr()
    args = ["eval", "retrieval", "-c", "mine", "--tasks", str(file), "--out", str(tmp_path / "run")]
    assert main([*args, "--json"]) == 0
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["by"] == "text" and summary["recall"]["1"]["value"] == 1.0
    assert main(args) == 0
    assert "nDCG@10" in capsys.readouterr().out
    assert main([*args, "--by", "visual"]) == 2
    assert "has no vectors" in capsys.readouterr().err
