"""Runs compared: paired differences, where they differ, the paper's rows beside them, and the page about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fabricated import DrawnPages, answer_turn, crop_turn, episode, failed, make_task, search_turn
from tests.unit.test_report import ATTACK, Reader
from vrag.episode import EpisodeRecord, Judgement
from vrag.errors import DataError, UsageError
from vrag.evaluation.comparison import EvalRun, compare_all, read_run
from vrag.evaluation.paper import paper_tables
from vrag.evaluation.report.compare import write_comparison
from vrag.runs import RunDir

TASKS = [make_task(f"q{number}", hops=1 + number % 2, kind=("table", "pie")[number % 2]) for number in range(8)]


def a_run(name: str, right: Sequence[int], seeds: Sequence[int] = (0,), **config: object) -> EvalRun:
    """Right on the questions of these numbers."""
    records = [episode(task, right=n in right, seed=seed) for n, task in enumerate(TASKS) for seed in seeds]
    return EvalRun(name, records, {"policy": name, **config})


def three() -> list[EvalRun]:
    return [a_run("base", [0]), a_run("more", [0, 1, 2, 3, 4, 5]), a_run("other", [7])]


def page(path: Path, runs: Sequence[EvalRun], questions: int = 40, budget: int = 10_000_000) -> tuple[str, Reader]:
    write_comparison(path / "c.html", compare_all(runs), runs, DrawnPages(), questions=questions, image_budget=budget)
    text = (path / "c.html").read_text(encoding="utf-8")
    return text, Reader(text)


def test_each_run_is_paired_with_the_baseline_and_p_is_corrected_for_their_number() -> None:
    found = compare_all(three())
    assert found.baseline == "base" and set(found.paired) == {"more", "other"}
    more, other = found.paired["more"], found.paired["other"]
    assert (more.difference.better, more.difference.worse, more.difference.n) == (5, 0, 8)
    assert more.difference.p == pytest.approx(2 / 2**5) and more.difference.test == "mcnemar"
    assert more.p_holm == pytest.approx(2 * more.difference.p) and other.p_holm == other.difference.p == 1.0
    assert set(compare_all(three(), "other").paired) == {"base", "more"}


def test_a_baseline_that_is_no_run_is_refused() -> None:
    with pytest.raises(UsageError, match="there are base, more, other"):
        compare_all(three(), "bass")


def test_disagreements_are_questions_with_different_verdicts_and_a_failure_is_none() -> None:
    base, more = a_run("base", [0, 1]), a_run("more", [0, 2])
    broken = EvalRun("broken", [failed(TASKS[0]), *a_run("x", [0, 1]).records[1:-1]], {})
    found = compare_all([base, more, broken])
    assert [one.task for one in found.disagreements] == ["q1", "q2"]
    assert found.disagreements[0].right == {"base": 1.0, "more": 0.0, "broken": 1.0}
    assert found.paired["broken"].difference.n == 6 and found.runs["broken"].errored == 1


def test_several_samples_of_a_question_are_one_share() -> None:
    mixed = a_run("mixed", [0], seeds=(0, 1)).records
    flipped = [one.model_copy(update={"seed": 2}) for one in a_run("x", [3]).records]
    found = compare_all([a_run("base", [0]), EvalRun("mixed", [*mixed, *flipped], {})])
    assert {one.task: one.right["mixed"] for one in found.disagreements} == pytest.approx({"q0": 2 / 3, "q3": 1 / 3})
    assert found.paired["mixed"].difference.test == "mcnemar", "both differences are a third"


def test_settings_that_differ_are_named_and_others_are_not() -> None:
    runs = [a_run("a", [0], by="text", environment={"top_k": 10}), a_run("b", [0], environment={"top_k": 5})]
    assert compare_all(runs).settings == {
        "by": {"a": "text", "b": "unset"},
        "environment.top_k": {"a": "10", "b": "5"},
        "policy": {"a": "a", "b": "b"},
    }


def test_runs_without_a_question_in_common_have_no_difference(tmp_path: Path) -> None:
    apart = EvalRun("apart", [episode(make_task("z"))], {})
    found = compare_all([a_run("base", [0]), apart])
    assert found.paired == {} and found.disagreements == []
    text, _ = page(tmp_path, [a_run("base", [0]), apart])
    assert "No question is answered differently." in text


def test_a_folder_without_episodes_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no episodes\.jsonl"):
        read_run("x", tmp_path)
    run = RunDir.open(tmp_path / "run", {"policy": "p"})
    (run.path / "episodes.jsonl").write_text('{"torn')
    with pytest.raises(DataError, match="no whole episode"):
        read_run("x", run.path)
    for record in (episode(TASKS[1]), episode(TASKS[0], seed=1), episode(TASKS[0])):
        run.log("episodes").append(record)
    assert [(one.task.id, one.seed) for one in read_run("x", run.path).records] == [("q0", 0), ("q0", 1), ("q1", 0)]


# ------------------------------------------------------------------------------------------ the paper


def of(source: str, records: Sequence[EpisodeRecord], kind: str | None = None) -> list[EpisodeRecord]:
    return [
        one.model_copy(update={"task": one.task.model_copy(update={"source": source, "kind": kind or one.task.kind})})
        for one in records
    ]


def test_the_papers_rows_stand_beside_runs_on_its_benchmarks() -> None:
    (table,) = paper_tables({"mine": of("slidevqa_refined", a_run("x", [0, 2, 3]).records)})
    assert (table.benchmark, table.columns) == ("slidevqa", ["single-hop", "multi-hop"])
    shares = table.ours["mine"]
    assert [share and share.value for share in shares] == [0.5, 0.25]
    assert len(table.rows) == 14
    best = {row.size: row.shares for row in table.rows if row.system == "VRAG-RL"}
    assert best == {"7B": pytest.approx([0.693, 0.431]), "3B": pytest.approx([0.653, 0.386])}
    assert any("mine: 8 questions, 2,020" in note for note in table.notes)
    assert any("mine: answers are scored by rules" in note for note in table.notes)


def test_a_run_within_single_documents_is_told_from_the_papers() -> None:
    runs = [
        EvalRun(scope, of("vidoseek", a_run("x", [0]).records), {"environment": {"scope": scope}})
        for scope in ("corpus", "document")
    ]
    (table,) = compare_all(runs).paper
    assert [note for note in table.notes if "one document" in note] == [
        "document: searched one document at a time, which is far easier."
    ]


def test_a_question_about_several_kinds_counts_in_each_column() -> None:
    judged = Judgement(right=True, by="model")
    records = of("mmlongbench", a_run("x", [0, 1, 2, 3]).records[:4], "chart+table")
    records = [one.model_copy(update={"judgement": judged}) for one in records]
    (table,) = paper_tables({"mine": records})
    assert table.columns == ["text", "table", "chart", "figure", "layout"]
    assert [share and share.n for share in table.ours["mine"]] == [None, 4, 4, None, None]
    assert not any("rules" in note for note in table.notes)
    assert [row.shares[2] for row in table.rows if row.system == "VRAG-RL"] == pytest.approx([0.248, 0.219])


def test_questions_that_are_not_the_papers_have_no_published_rows(tmp_path: Path) -> None:
    assert paper_tables({"mine": of("synthetic-heldout", a_run("x", [0]).records)}) == []
    text, _ = page(tmp_path, three())
    assert "published" not in text.split("</style>")[1]
    seek = [EvalRun(run.name, of("vidoseek", run.records), run.config) for run in three()]
    text, read = page(tmp_path, seek)
    assert text.count(">published<") == 14 and "extraction" in text and "74.8 %" in text
    assert read.count("details") == 7


# ------------------------------------------------------------------------------------------- the page


def test_the_page_shows_how_runs_stand_and_only_questions_that_differ(tmp_path: Path) -> None:
    text, read = page(tmp_path, three())
    assert "+62.5" in text and "5, 0 of 8" in text and "McNemar" in text and "after Holm, for 2 comparisons" in text
    assert read.count("details") == 7, "all but q6, on which all are wrong"
    assert text.count('class="column"') == 7 * 3
    keys = [names["data-verdict"] for tag, names in read.tags if tag == "details"]
    assert sorted(set(keys), key=str) == ["better-1", "better-2", "worse-2"]
    shown = [names["data-show"] for tag, names in read.tags if tag == "button"]
    assert shown == ["all", "better-1", "better-2", "worse-2"]
    assert "7 of 8 questions" in text and "all of them are here" in text
    for part in (
        "Gold answer stands in the answer",
        "By kind of content",
        "Settings that differ",
        "totals page 3",
        "retrieval <b>0.80</b>",
    ):
        assert part in text


def test_pictures_are_shared_by_runs_and_stay_within_the_budget(tmp_path: Path) -> None:
    text, read = page(tmp_path, three())
    assert read.count("image") == 2 and read.count("use") == 7 * 3 * 2
    many = [
        EvalRun(name, [episode(task, search_turn(n + 3), crop_turn(n + 3), answer_turn("42"), right=right)
                       for n, task in enumerate(TASKS[:3])], {})
        for name, right in (("a", True), ("b", False))
    ]  # fmt: skip
    whole = embedded(page(tmp_path, many)[1])
    text, read = page(tmp_path, many, budget=whole // 2)
    assert 0 < embedded(read) <= whole // 2 and "size budget is spent" in text


def embedded(read: Reader) -> int:
    return sum(len(names.get("href") or "") for tag, names in read.tags if tag == "image")


def test_only_so_many_questions_are_shown_spread_over_who_is_right(tmp_path: Path) -> None:
    text, read = page(tmp_path, three(), questions=3)
    assert "7 of 8 questions" in text and "3 of them, spread over which runs are right, are here" in text
    keys = [names["data-verdict"] for tag, names in read.tags if tag == "details"]
    assert sorted(key or "" for key in keys) == ["better-1", "better-2", "worse-2"]
    assert page(tmp_path, three(), questions=0)[1].count("details") == 0


def test_a_run_that_lacks_a_question_or_failed_on_it_says_so(tmp_path: Path) -> None:
    runs = [*three(), EvalRun("partial", [failed(TASKS[0])], {})]
    text, _ = page(tmp_path, runs)
    assert (
        "partial: not asked" in text and "the retriever is down" in text and "partial: 1 of 1 episodes failed" in text
    )


def test_the_page_asks_the_network_for_nothing_and_text_stays_text(tmp_path: Path) -> None:
    task = make_task(ATTACK, answers=(ATTACK,), kind=ATTACK)
    turns = [search_turn(3), answer_turn(ATTACK)]
    runs = [
        EvalRun(ATTACK, [episode(task, *turns).model_copy(update={"answer": ATTACK})], {"policy": ATTACK}),
        EvalRun("b", [episode(task, *turns, right=False)], {"policy": "b"}),
    ]
    text, read = page(tmp_path, runs)
    assert read.count("script") == 1 and "<script>alert" not in text and read.count("details") == 1
    links = [value for _, names in read.tags for key, value in names.items() if key in {"src", "href"} and value]
    assert links and all(link.startswith(("data:image/jpeg;base64,", "#page-")) for link in links)
    assert all("onerror" not in names for _, names in read.tags) and not re.search(r"url\(|@import", text)


def test_several_samples_say_which_one_is_shown(tmp_path: Path) -> None:
    mixed = [*a_run("x", [0]).records, *(one.model_copy(update={"seed": 1}) for one in a_run("x", [1]).records)]
    text, _ = page(tmp_path, [a_run("base", [0]), EvalRun("mixed", mixed, {})])
    assert "seed 0, sample 0; 1 of 2 samples are right" in text
