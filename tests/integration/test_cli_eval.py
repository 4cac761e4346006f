"""`vrag eval` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.papers import write_pdf
from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.types import Evidence, PageRef, Task


@pytest.fixture
def tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A corpus `mine` of two one-page documents, and three questions, the last with a wrong gold answer."""
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(tmp_path / "docs/kelp.pdf", ["The kelp farm was sold in 2003"])
    assert main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"]) == 0
    capsys.readouterr()
    rows = [
        ("a", "amber harbour", "amber", "1984"),
        ("b", "kelp farm", "kelp", "2003"),
        ("c", "kelp farm", "kelp", "1066"),
    ]
    questions = [
        Task(
            id=name,
            question=f"When was the {subject}?",
            answers=[answer],
            gold=[Evidence(ref=PageRef(document=f"{document}.pdf", page=1))],
        )
        for name, subject, document, answer in rows
    ]
    write_tasks(tmp_path / "tasks.jsonl", questions)
    return tmp_path / "tasks.jsonl"


def evaluate(tasks: Path, *options: str) -> int:
    return main(["eval", "-c", "mine", "--tasks", str(tasks), "--out", str(tasks.parent / "run"), *options])


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out)


def test_the_summary_is_all_that_stdout_holds_and_is_kept(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tasks, "--json") == 0
    printed = summary(capsys)
    assert (printed["episodes"], printed["scored"], printed["errored"]) == (3, 3, 0)
    assert printed["stops"] == {"answer": 3}
    assert json.loads((tasks.parent / "run" / "summary.json").read_text()) == printed
    accuracy, shown = printed["accuracy"], printed["shown"]
    assert isinstance(accuracy, dict) and accuracy["value"] == pytest.approx(2 / 3)
    assert isinstance(shown, dict) and shown["recall"]["10"] == 1.0


def test_the_table_names_the_measures(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tasks) == 0
    out = capsys.readouterr().out
    assert "extractive on mine" in out and "right answers" in out and "3 + 0 = 3" in out


def test_a_rerun_adds_nothing(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--json")
    first, log = summary(capsys), tasks.parent / "run" / "episodes.jsonl"
    before = log.read_bytes()
    evaluate(tasks, "--json")
    assert summary(capsys) == first
    assert log.read_bytes() == before


def test_another_setting_needs_another_folder_or_overwrite(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks)
    assert evaluate(tasks, "--limit", "2") == 2
    assert "tasks.count: 3 there, 2 now" in capsys.readouterr().err
    assert evaluate(tasks, "--limit", "2", "--overwrite", "--json") == 0
    assert summary(capsys)["episodes"] == 2


def test_each_seed_runs_every_question(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--seeds", "0,7", "--json")
    printed = summary(capsys)
    assert (printed["episodes"], printed["questions"]) == (6, 3)
    assert set(printed["by_sample"]) == {"0.0", "7.0"}  # type: ignore[call-overload]


def test_without_crops_no_crop_is_made(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--json")
    assert summary(capsys)["crops"] == 1.0
    evaluate(tasks, "--recipe", "no-crop", "--overwrite", "--json")
    assert summary(capsys)["crops"] == 0.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "one"], "--seeds 'one'"),
        (["--seeds", "1,1"], "twice"),
        (["--policy", "nothing-here"], "nothing-here"),
        (["--tasks", "absent.jsonl"], "absent.jsonl"),
        (["-c", "no-such-corpus"], "no-such-corpus"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tasks: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert evaluate(tasks, *options) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tasks.parent / "run").exists()
