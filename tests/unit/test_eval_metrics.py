import io
import random

import ir_measures as ir
import pytest
from rich.console import Console

from tests.fabricated import GOLD, answer_turn, crop_turn, episode, failed, invalid_turn, make_task, search_turn
from vrag.episode import EpisodeRecord
from vrag.evaluation.evidence import box_scores, first_hits
from vrag.evaluation.metrics import Summary, best_constant, compare_runs, said_pages, summarize
from vrag.evaluation.table import judge_hint, summary_table
from vrag.rewards.retrieval import shown_pages
from vrag.types import Box, StopReason, Task


def test_what_infrastructure_failed_is_counted_apart_and_never_as_wrong() -> None:
    records = [episode(make_task("a")), episode(make_task("b"), right=False), failed(make_task("c"))]
    summary = summarize(records)
    assert (summary.episodes, summary.scored, summary.errored) == (3, 2, 1)
    assert summary.accuracy is not None and summary.accuracy.value == 0.5 and summary.accuracy.n == 2
    assert summary.stops == {"answer": 2, "error": 1}
    assert summary.finished is not None and summary.finished.value == 1.0


def test_a_run_that_failed_throughout_has_no_accuracy() -> None:
    summary = summarize([failed(), failed(make_task("b"))])
    assert summary.accuracy is None and summary.finished is None and summary.constant is None
    assert summary.errored == 2


def test_accuracy_is_split_by_hops_kind_and_seed() -> None:
    records = [
        episode(make_task("a", hops=1, kind="bar")),
        episode(make_task("b", hops=2, kind="pie"), right=False),
        episode(make_task("c", hops=2, kind="bar")),
        episode(make_task("a", hops=1, kind="bar"), seed=1),
        episode(make_task("b", hops=2, kind="pie"), right=False, seed=1),
        episode(make_task("c", hops=2, kind="bar"), right=False, seed=1),
    ]
    summary = summarize(records)
    assert {hops: share.value for hops, share in summary.by_hop.items()} == {"1": 1.0, "2": 0.25}
    assert {kind: share.value for kind, share in summary.by_kind.items()} == {"bar": 0.75, "pie": 0.0}
    assert summary.by_sample == pytest.approx({"0.0": 2 / 3, "1.0": 1 / 3})
    assert summary.questions == 3


def test_the_answer_that_most_samples_give_is_scored_beside_each_alone() -> None:
    def samples(id: str, *answers: str | None) -> list[EpisodeRecord]:
        made = [
            episode(make_task(id), right=answer is not None and "42" in answer, seed=n)
            for n, answer in enumerate(answers)
        ]
        return [record.model_copy(update={"answer": answer}) for record, answer in zip(made, answers, strict=True)]

    records = [
        *samples("most are right", "7", "42", "42 "),
        *samples("one is right", "42", "7", "7"),
        *samples("a tie goes to the first", "42", "7", "8"),
        *samples("no answer is none", None, None, "42"),
        *samples("none is right", "7", "7", "7"),
    ]
    summary = summarize(records[::-1])
    assert summary.majority is not None and (summary.majority.value, summary.majority.n) == (0.6, 5)
    assert summary.best is not None and summary.best.value == 0.8
    assert "most frequent answer" in said(summary)
    alone = summarize([record for record in records if record.seed == 0])
    assert alone.majority is None and alone.best is None and "most frequent" not in said(alone)


def test_gold_answers_that_stand_in_an_answer_are_counted_and_older_summaries_open() -> None:
    sentence = episode(make_task("a"), right=False).model_copy(update={"answer": "It is 42 (page 3)."})
    records = [sentence, episode(make_task("b"), right=False), episode(make_task("c"), stop=StopReason.TURNS)]
    summary = summarize([*records, episode(make_task("d")), failed(make_task("e"))])
    assert summary.accuracy is not None and summary.accuracy.value == 0.25
    assert summary.contained is not None and (summary.contained.value, summary.contained.n) == (0.5, 4)
    old = summary.model_dump(mode="json", exclude={"contained"})
    assert Summary.model_validate(old).contained is None


def test_the_judge_is_hinted_at_only_where_it_would_help() -> None:
    plain = summarize([episode(make_task(f"q{n}")) for n in range(4)])
    assert judge_hint(plain) is None and judge_hint(summarize([failed()])) is None
    sentence = episode(make_task("s"), right=False).model_copy(update={"answer": "It is 42."})
    hidden = summarize([sentence, episode(make_task("t"))])
    hint = judge_hint(hidden)
    assert hint is not None and "100.0 % of the answers" in hint and "50.0 % are right" in hint
    assert judge_hint(hidden.model_copy(update={"contained": None})) is None
    assert "gold answer stands in the answer" in said(hidden) and "gold answer stands" not in said(
        hidden.model_copy(update={"contained": None})
    )


def said(summary: Summary) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(summary_table(summary, "run"))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_leaves_out_groups_of_one_and_what_has_no_gold_pages() -> None:
    table = said(summarize([episode(make_task("a", kind="unknown")), episode(make_task("b", kind="unknown"))]))
    assert "unknown" not in table and "kind" not in table and "1 hop" not in table and "Gold pages" in table
    mixed = said(summarize([episode(make_task("a", kind="unknown")), episode(make_task("b", kind="bar"))]))
    assert "of no given kind" in mixed and "unknown" not in mixed
    assert "Gold pages" not in said(summarize([episode(Task(id="x", question="?", answers=["42"]))]))


def test_behaviour_is_counted_per_episode_and_invalid_actions_per_turn() -> None:
    steps = [search_turn(3), invalid_turn(), crop_turn(3), answer_turn("42")]
    summary = summarize([episode(None, *steps), episode(make_task("b"), stop=StopReason.TURNS)])
    assert (summary.turns, summary.searches, summary.crops) == (3.5, 1.0, 1.0)
    assert summary.invalid is not None and (summary.invalid.value, summary.invalid.n) == (1 / 7, 7)
    assert summary.finished is not None and summary.finished.value == 0.5
    assert summary.reward["answer"] == 0.5 and summary.reward["retrieval"] == pytest.approx(0.8)


def test_the_first_search_is_judged_by_all_it_returned_and_views_by_what_was_shown() -> None:
    task = make_task(hops=2)  # gold pages 3 and 4
    steps = [search_turn(9, ranked=(9, 3, 4)), search_turn(3, ranked=(9, 3)), answer_turn("42")]
    record = episode(task, *steps)
    assert [hit.ref.page for hit in first_hits(record)] == [9, 3, 4]
    assert [ref.page for ref in shown_pages(record.turns)] == [9, 3]
    summary = summarize([record])
    assert summary.first_search is not None and summary.shown is not None
    assert {depth: one.value for depth, one in summary.first_search.recall.items()} == {1: 0.0, 5: 1.0, 10: 1.0}
    assert summary.first_search.mrr.value == 0.5
    assert summary.shown.recall[10].value == 0.5
    assert summary.shown.ndcg.value < summary.first_search.ndcg.value < 1


def test_an_episode_that_never_searched_found_nothing() -> None:
    summary = summarize([episode(None, answer_turn("42"))])
    assert summary.first_search is not None and summary.first_search.mrr.value == 0.0


def test_ranking_is_that_of_ir_measures() -> None:
    rng = random.Random(0)
    records = []
    for number in range(12):
        task = make_task(f"q{number:02}", hops=1 + number % 3)
        ranked = tuple(rng.sample(range(1, 12), rng.randint(1, 8)))
        records.append(episode(task, search_turn(ranked[0], ranked=ranked), answer_turn("42")))
    summary = summarize(records)
    qrels = [ir.Qrel(record.task.id, str(gold.ref.page), 1) for record in records for gold in record.task.gold]
    run = [
        ir.ScoredDoc(record.task.id, str(hit.ref.page), -rank)
        for record in records
        for rank, hit in enumerate(first_hits(record))
    ]
    found = summary.first_search
    assert found is not None
    ours = {ir.R @ depth: one.value for depth, one in found.recall.items()}
    ours |= {ir.RR: found.mrr.value, ir.nDCG: found.ndcg.value}
    assert ours == pytest.approx(ir.calc_aggregate(list(ours), qrels, run))
    assert found.mrr.n == 12 and found.mrr.low < found.mrr.value < found.mrr.high


def test_coverage_counts_gold_pages_whenever_they_were_shown() -> None:
    task = make_task("a", hops=2)  # gold pages 3 and 4
    late = [search_turn(page) for page in (9, 8, 7, 6, 5, 2, 1, 10, 11, 12, 3)]
    records = [episode(task, *late, answer_turn("42")), episode(make_task("b"), search_turn(3), answer_turn("42"))]
    summary = summarize([*records, episode(Task(id="c", question="?", answers=["42"]))])
    assert summary.coverage is not None and summary.complete is not None and summary.shown is not None
    assert (summary.coverage.value, summary.coverage.n) == (0.75, 2)
    assert (summary.complete.value, summary.shown.recall[10].value) == (0.5, 0.5)


def test_accuracy_is_split_by_document_content_type_and_pages_shown() -> None:
    both = make_task("a", kind="chart+table")
    other = make_task("b", kind="table").model_copy(update={"document": "other.pdf"})
    many = [search_turn(page) for page in range(1, 9)]
    records = [
        episode(both),
        episode(other, *many, answer_turn("17"), right=False),
        episode(make_task("c"), right=False),
    ]
    summary = summarize(records)
    assert {kind: (one.value, one.n) for kind, one in summary.by_kind.items()} == {
        "chart": (1.0, 1),
        "table": (pytest.approx(1 / 3), 3),
    }
    assert {name: (one.value, one.n) for name, one in summary.by_document.items()} == {
        "other.pdf": (0.0, 1),
        "report.pdf": (0.5, 2),
    }
    assert {pages: (one.value, one.n) for pages, one in summary.by_pages.items()} == {"1": (0.5, 2), "6": (0.0, 1)}
    assert [said_pages(key) for key in ("1", "2", "6")] == ["1 page", "2 pages", "6 pages or more"]


def test_questions_without_gold_pages_have_no_retrieval_numbers() -> None:
    summary = summarize([episode(Task(id="x", question="?", answers=["42"]))])
    assert summary.first_search is None and summary.shown is None and summary.box_iou is None


def test_the_last_crop_of_a_page_is_held_against_its_gold_box() -> None:
    twice = Box(x1=GOLD.x1, y1=GOLD.y1, x2=GOLD.x2, y2=GOLD.y2 + GOLD.height)
    record = episode(None, search_turn(3), crop_turn(3), crop_turn(3, twice), answer_turn("42"))
    assert box_scores(record) == [(pytest.approx(0.5), pytest.approx(1.0))]


def test_a_crop_elsewhere_or_on_another_page_shows_no_gold() -> None:
    elsewhere = Box(x1=0.0, y1=0.0, x2=0.2, y2=0.2)
    assert box_scores(episode(None, search_turn(3), crop_turn(3, elsewhere), answer_turn("42"))) == [(0.0, 0.0)]
    assert box_scores(episode(None, search_turn(5), crop_turn(5), answer_turn("42"))) == [(0.0, 0.0)]


def test_the_best_constant_answer_is_the_most_frequent_one_by_question() -> None:
    tasks = [
        make_task("a", answers=("New  York", "NYC")),
        make_task("b", answers=("new york",)),
        make_task("c", answers=("Oslo",)),
    ]
    constant = best_constant([*tasks, tasks[2], tasks[2]])  # repeats are seeds, not questions
    assert constant is not None
    assert (constant.answer, constant.share) == ("new york", pytest.approx(2 / 3))


def test_two_runs_are_compared_question_by_question() -> None:
    tasks = [make_task(f"q{i}") for i in range(8)]
    before = [episode(task, right=i == 0) for i, task in enumerate(tasks)]
    after = [episode(task, right=i != 0) for i, task in enumerate(tasks)]
    difference = compare_runs(before, [*after, failed(make_task("new"))])
    assert difference is not None
    assert (difference.better, difference.worse, difference.n) == (7, 1, 8)
    assert difference.value == pytest.approx(6 / 8)
    assert difference.p == pytest.approx(2 * 9 / 2**8) and difference.test == "mcnemar"
    several = compare_runs(before, [*after, *(episode(task, right=False, seed=1) for task in tasks[:3])])
    assert several is not None and several.test == "sign-flip"
