"""`vrag eval compare`, and `vrag eval RECIPE --benchmark NAME`, as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import benchmarks as made
from tests.fabricated import episode, make_task
from tests.papers import write_pdf
from vrag.cli import main
from vrag.runs import RunDir

BUILD = ("--workers", 1, "--no-ocr")


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def a_run(path: Path, right: set[int]) -> Path:
    run = RunDir.open(path, {"policy": path.name})
    for number in range(4):
        run.log("episodes").append(episode(make_task(f"q{number}"), right=number in right))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [a_run(tmp_path / "a", {0}), a_run(tmp_path / "b", {0, 1, 2})]


def test_runs_are_compared_in_the_terminal_and_as_json(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert vrag("eval", "compare", *runs) == 0
    out = capsys.readouterr().out
    assert "+50.0" in out and "Differences are from a. p is of McNemar's exact test" in out and "4 + 0 = 4" in out
    assert "corrected" not in out and "2, 0 of 4" in out
    assert vrag("eval", "compare", *runs, "--baseline", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["paired"]["a"]["difference"]["value"] == -0.5
    assert [one["task"] for one in found["disagreements"]] == ["q1", "q2"]


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = [a_run(tmp_path / f"exp[lr={rate}]", {0}) for rate in ("1e-5", "2e-5")]
    assert vrag("eval", "compare", *named, f"[/red]={named[0]}") == 0
    out = capsys.readouterr().out
    assert "exp[lr=1e-5]" in out and "exp[lr=2e-5]" in out and "[/red]" in out


def test_only_what_can_be_compared_is(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vrag("eval", "compare", runs[0]) == 0
    alone = capsys.readouterr().out
    assert "ifference" not in alone and "better" not in alone and "25.0 %" in alone
    few, none = RunDir.open(tmp_path / "few", {}), RunDir.open(tmp_path / "none", {})
    few.log("episodes").append(episode(make_task("q1"), right=True))
    none.log("episodes").append(episode(make_task("elsewhere"), right=True))
    assert vrag("eval", "compare", runs[0], few.path, none.path) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:6] if line.strip()}
    assert "1, 0 of 1" in rows["few"] and "no question in common" in rows["none"]


def test_questions_that_only_share_their_name_are_not_compared(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = RunDir.open(tmp_path / "other", {})
    for number in range(4):
        task = make_task(f"q{number}")
        moved = task if number else task.model_copy(update={"question": "Who came first?"})
        other.log("episodes").append(episode(moved, right=number in {1}))
    assert vrag("eval", "compare", runs[0], other.path) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1, 0 of 3" in out and "Not compared: q0 (1 in all), under which the runs have different questions." in out
    assert vrag("eval", "compare", runs[0], other.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unlike"] == ["q0"] and [one["task"] for one in found["disagreements"]] == ["q1"]


def test_a_page_without_its_corpus_is_written_and_says_so(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("eval", "compare", *runs, "--html", tmp_path / "c.html") == 0
    assert "without images unless --corpus names it" in capsys.readouterr().err
    assert "name the run&#x27;s corpus with --corpus" in (tmp_path / "c.html").read_text()
    assert vrag("eval", "compare", *runs, "--html", tmp_path / "d.html", "--corpus", "gone") == 1
    assert not (tmp_path / "d.html").exists()


def test_runs_are_called_by_their_folder_or_as_one_likes(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = a_run(tmp_path / "later" / "a", {1})
    assert vrag("eval", "compare", runs[0], other, f"mine={runs[1]}", "--json") == 0
    names = list(json.loads(capsys.readouterr().out)["runs"])
    assert names == [f"{tmp_path.name}/a", "later/a", "mine"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["{a}", "x={a}", "x={b}"], "two runs are called 'x'"),
        (["{a}", "{b}", "--baseline", "c"], "there are a, b"),
        (["{a}", "{a}/gone"], "holds no episodes.jsonl"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    runs: list[Path], args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("eval", "compare", *(arg.format(a=runs[0], b=runs[1]) for arg in args)) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


# ------------------------------------------------------------------------------------------ benchmarks


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_benchmark_is_made_and_measured_by_its_name_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ("eval", "vrag", "--benchmark", "vidoseek", "--limit", 1)
    assert vrag(*ask) == 2
    error = capsys.readouterr().err
    assert "no benchmark 'vidoseek'" in error and "run `vrag data vidoseek`" in error and error.count("\n") == 1
    assert vrag("data", "vidoseek", made.vidoseek(here / "set"), *BUILD) == 0
    capsys.readouterr()
    assert vrag(*ask, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["questions"] == 1
    out = here / "runs/vidoseek-vrag-extractive-first1"
    assert "runs/vidoseek-vrag-extractive-first1" in printed.err
    config = json.loads((out / "run.json").read_text())
    assert (config["corpus"], config["tasks"]["count"]) == ("paper", 1)
    assert vrag("eval", "react-visual", "-b", "vidoseek", "--limit", 1) == 0
    assert vrag("eval", "retrieval", "-b", "vidoseek", "--json") == 0
    capsys.readouterr()
    assert vrag("eval", "compare", out, here / "runs/vidoseek-react-visual-extractive-first1", "--html", "c.html") == 0
    printed = capsys.readouterr()
    assert "published: VRAG-RL, 7B" in printed.out and "environment.actions" in (here / "c.html").read_text()
    assert "without images" not in printed.err


def test_ones_own_questions_are_a_benchmark_by_the_name_of_their_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pdf(here / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    (here / "mine.csv").write_text("question,answer,document,page\nWhen did the amber harbour open?,1984,amber,1\n")
    corpus = here / "place"
    assert vrag("data", "import", here / "mine.csv", "--documents", here / "docs", "-c", "./place", *BUILD) == 0
    assert vrag("eval", "--benchmark", "mine", "--out", here / "run", "--json") == 0
    assert json.loads((here / "run/run.json").read_text())["corpus"] == str(corpus)
    capsys.readouterr()
    assert vrag("eval", "-b", "mind") == 2
    assert "did you mean mine?" in capsys.readouterr().err
    (corpus / "catalog.sqlite").unlink()
    assert vrag("eval", "-b", "mine") == 2
    assert "is gone" in capsys.readouterr().err


def test_a_benchmark_that_was_told_where_to_go_is_named_by_its_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("data", "mmlongbench", made.mmlongbench(here / "set"), here / "out", "-c", "long", *BUILD) == 0
    assert vrag("eval", "-b", "./out", "--limit", 1, "--json") == 0
    capsys.readouterr()
    assert vrag("eval", "-b", "mmlongbench") == 2 and "run `vrag data mmlongbench`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "--benchmark NAME, or --corpus and --tasks together"),
        (("-c", "x"), "--benchmark NAME, or --corpus and --tasks together"),
        (("-c", "x", "--tasks", "y.jsonl"), "--out FOLDER"),
        (("react-text", "--recipe", "vrag", "-c", "x"), "two recipes, react-text and --recipe vrag"),
        (("-b", "slidevqa-val"), "run `vrag data slidevqa --split val`"),
        (("-b", "slidevca"), "did you mean slidevqa?"),
        (("-b", "zzz"), "`vrag data slidevqa|vidoseek|mmlongbench|import` makes one"),
    ],
)
def test_questions_that_are_not_there_are_said_in_one_line(
    args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("eval", "answers", *args) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
