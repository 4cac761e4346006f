import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.fabricated import (
    DrawnPages,
    answer_turn,
    crop_turn,
    episode,
    failed,
    invalid_turn,
    make_task,
    ref,
    search_turn,
)
from vrag.episode import Judgement
from vrag.evaluation.report import Chart, Run, choose, write_report
from vrag.evaluation.report.charts import line_chart
from vrag.evaluation.report.html import el, foreign
from vrag.types import Observation, Usage

ATTACK = "</q></b></article><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\u202e\x00"


class Reader(HTMLParser):
    """Collects tags, attributes and balance of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def write(path: Path, runs: list[Run], trajectories: int = 5, **options: int) -> tuple[str, Reader]:
    curves = [Chart("Reward", {"total": [(step, step / 40) for step in range(40)]})]
    write_report(path / "r.html", runs, curves, trajectories, DrawnPages(), **options)
    text = (path / "r.html").read_text(encoding="utf-8")
    return text, Reader(text)


def runs() -> list[Run]:
    tasks = [make_task(f"q{i}", hops=1 + i % 2, kind=("table", "pie")[i % 2]) for i in range(6)]
    before = [episode(task, right=i == 0) for i, task in enumerate(tasks)]
    after = [episode(task, right=i < 4) for i, task in enumerate(tasks)]
    return [Run("SFT", before), Run("SFT + RL", after)]


def test_the_report_shows_numbers_curves_and_trajectories(tmp_path: Path) -> None:
    text, page = write(tmp_path, runs())
    assert "+50.0 points" in text and "better on 3, worse on 0" in text
    assert "66.7 %" in text and "16.7 %" in text
    assert page.count("article") == 5
    assert page.count("polyline") == 2
    assert "2 hops" in text and "pie" in text


def test_the_report_asks_the_network_for_nothing(tmp_path: Path) -> None:
    text, page = write(tmp_path, runs())
    links = [value for _, names in page.tags for key, value in names.items() if key in {"src", "href"} and value]
    assert links and all(link.startswith(("data:image/jpeg;base64,", "#page-")) for link in links)
    assert any((names.get("content") or "").startswith("default-src 'none'; img-src data:;") for _, names in page.tags)
    assert not re.search(r"url\(|@import", text)
    assert page.count("script") == 1


def test_each_page_and_each_crop_is_embedded_once(tmp_path: Path) -> None:
    _, page = write(tmp_path, runs())
    assert page.count("image") == 2
    assert page.count("use") == 2 * 5


def test_text_of_models_and_documents_stays_text(tmp_path: Path) -> None:
    task = make_task(ATTACK, answers=(ATTACK,), kind=ATTACK)
    steps = [search_turn(3), invalid_turn(ATTACK), crop_turn(3), answer_turn(ATTACK)]
    record = episode(task, *steps).model_copy(update={"answer": ATTACK, "error": ATTACK})
    text, page = write(tmp_path, [Run(ATTACK, [record])])
    assert page.count("script") == 1 and "<script>alert" not in text
    assert page.count("article") == 1
    assert all("onerror" not in names for _, names in page.tags)
    assert "evil.example" in text, "it is shown, as text"
    assert "\x00" not in text


def test_endless_text_is_cut_and_says_so() -> None:
    said = foreign("x" * 100_000)
    assert len(said) < 2_100 and "(100,000 characters)" in said


def test_plain_strings_are_escaped_in_children_and_attributes() -> None:
    assert el("p", "a < b & c", title='"x"', class_="y") == '<p title="&quot;x&quot;" class="y">a &lt; b &amp; c</p>'


def test_pictures_over_the_budget_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    text, page = write(tmp_path, runs(), image_budget=1_000)
    assert page.count("image") == 0
    assert "size budget is spent" in text
    assert len(text) < 60_000


def test_a_page_that_left_the_corpus_is_named_in_its_place(tmp_path: Path) -> None:
    turn = search_turn(3)
    assert turn.observation is not None and turn.observation.view is not None
    view = turn.observation.view.model_copy(update={"page_id": "gone/3"})
    gone = turn.model_copy(update={"observation": turn.observation.model_copy(update={"view": view})})
    text, _ = write(tmp_path, [Run("only", [episode(None, gone, answer_turn("42"))])])
    assert "page gone/3: is not in this corpus" in text


def test_failed_episodes_are_reported_as_failed_not_as_wrong(tmp_path: Path) -> None:
    text, page = write(tmp_path, [Run("only", [episode(make_task("a")), failed(make_task("b"))])])
    verdicts = [names["data-verdict"] for tag, names in page.tags if tag == "article"]
    assert sorted(v for v in verdicts if v) == ["failed", "right"]
    assert "1 of 2 episodes failed in infrastructure" in text


def test_the_judges_verdict_stands_at_its_trajectory_and_its_cost_in_the_table(tmp_path: Path) -> None:
    said = Judgement(right=True, by="model", calls=2, prompt_tokens=90, completion_tokens=7)
    record = episode(make_task("a"), right=False).model_copy(update={"judgement": said})
    text, _ = write(tmp_path, [Run("only", [record])])
    assert "judge <b>right</b> (model)" in text and "2, 90 + 7" in text
    assert "Judge and rules agree" in text and "judge" not in write(tmp_path, runs())[0].split("</style>")[1].lower()


def test_every_page_of_a_search_is_drawn_and_a_page_that_was_read_is_quoted(tmp_path: Path) -> None:
    turn = search_turn(3, ranked=(3, 4, 5))
    both = turn.observation
    assert both is not None and both.view is not None
    first = both.view.model_copy(update={"page_id": "report.pdf/4", "ref": ref(4)})
    shown = turn.model_copy(update={"observation": both.model_copy(update={"before": [first]})})
    read = Observation(kind="page", text="report.pdf, page 3:\nTotals <b>", hits=both.hits, read=both.hits[:1])
    told = turn.model_copy(update={"observation": read})
    for turns, pictures, marked in ((shown, 2, 2), (told, 0, 1)):
        text, reader = write(tmp_path, [Run("only", [episode(make_task("a"), turns, answer_turn("42"))])])
        assert reader.count("use") == pictures and text.count("<small>shown</small>") == marked
    assert "Totals &lt;b&gt;" in text


def test_what_the_agent_cost_stands_in_the_table(tmp_path: Path) -> None:
    spent = Usage(calls=3, prompt_tokens=90, completion_tokens=7)
    record = episode(make_task("a")).model_copy(update={"usage": spent})
    text, _ = write(tmp_path, [Run("only", [record])])
    assert "Agent&#x27;s requests" in text and "3, 90 + 7" in text


def test_one_run_alone_is_shown_without_a_comparison(tmp_path: Path) -> None:
    text, _ = write(tmp_path, runs()[:1])
    assert "verdict" not in text.split("</style>")[1].split("<article")[0]


def test_a_report_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write(tmp_path, [])


def test_the_gallery_mixes_right_and_wrong_hops_and_kinds() -> None:
    chosen = choose([*runs()[1].records, *runs()[1].records], limit=4)
    assert len({record.task.id for record in chosen}) == 4
    assert {record.answer for record in chosen} == {"42", "17"}
    assert {record.task.hops for record in chosen} == {1, 2}


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [1e-9, 2e-9], [-5.0, 1e6], [float("nan"), 0.3, float("inf")]])
def test_any_series_draws_within_its_frame(values: list[float]) -> None:
    figure = line_chart(Chart("x", {"y": list(enumerate(values))}))
    heights = [float(at) for at in re.findall(r' (?:y|cy|y1)="([-0-9.]+)"', figure)]
    drawn = [float(at) for pair in re.findall(r'points="([^"]+)"', figure) for at in re.findall(r",([-0-9.]+)", pair)]
    assert heights and all(0 <= at <= 200 for at in heights + drawn)
    assert "nan" not in figure.lower()


def test_a_chart_without_a_finite_point_is_no_figure() -> None:
    assert line_chart(Chart("x", {"y": [(0, float("nan"))], "z": []})) == ""


@pytest.mark.parametrize("values", [[3e17], [3e17, 3e17], [1e308, -1e308], [5e-324, 0.0], [1.0, 1e300]])
def test_a_run_that_diverged_is_drawn(values: list[float]) -> None:
    figure = line_chart(Chart("x", {"y": list(enumerate(values))}))
    assert "<svg" in figure and "nan" not in figure and "inf" not in figure
