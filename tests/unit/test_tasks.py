"""Task files: what is written is read back, and what is wrong is named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrag.data.tasks import read_tasks, write_tasks
from vrag.errors import DataError
from vrag.types import Box, Evidence, PageRef, Task

TASK = Task(
    id="a",
    question="¿Cuántos pedidos?\nUno por línea, auch mit Umlaut ü und 中文\u2028.",
    answers=["12,480", "12480"],
    gold=[Evidence(ref=PageRef(document="x/y.pdf", page=2), box=Box(x1=0.1, y1=0.2, x2=0.3, y2=0.4))],
    hops=1,
    kind="table",
    source="test",
    meta={"queries": ["one", "two"], "bridge": None},
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tasks = [TASK, TASK.model_copy(update={"id": "b", "gold": []})]
    write_tasks(tmp_path / "tasks.jsonl", tasks)
    assert read_tasks(tmp_path / "tasks.jsonl") == tasks
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.jsonl"]


def test_the_mark_that_editors_put_before_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"\ufeff{TASK.model_dump_json()}\n", encoding="utf-8")
    assert read_tasks(path) == [TASK]


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"\n{TASK.model_dump_json()}\n\n", encoding="utf-8")
    assert read_tasks(path) == [TASK]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "Invalid JSON"),
        ('{"id": "b"}', "question: Field required"),
        ('{"id": "b", "question": "?", "colour": 1}', "colour: Extra inputs"),
        (
            '{"id": "b", "question": "?", "gold": [{"ref": {"document": "d", "page": 0}}]}',
            r"gold\.0\.ref\.page",
        ),
        (TASK.model_dump_json(), "id 'a' is also that of line 1"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(f"{TASK.model_dump_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"tasks\.jsonl:2: {reason}"):
        read_tasks(path)


def test_a_table_is_no_task_file_and_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("question,answer\nWhen?,1984\n")
    with pytest.raises(DataError, match=r"questions\.csv: is a table .* run `vrag data import` first"):
        read_tasks(tmp_path / "questions.csv")
    (tmp_path / "questions.jsonl").write_text('{"question": "When?", "answer": "1984"}\n')
    with pytest.raises(DataError, match=r"questions\.jsonl:1: id: Field required; .* `vrag data import` makes them"):
        read_tasks(tmp_path / "questions.jsonl")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: can't be read"):
        read_tasks(tmp_path / "nowhere.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.jsonl: is not UTF-8"):
        read_tasks(tmp_path / "binary.jsonl")


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.jsonl: can't be written"):
        write_tasks(tmp_path / "missing" / "tasks.jsonl", [TASK])
