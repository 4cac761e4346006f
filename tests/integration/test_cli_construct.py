"""`vrag data construct` as a person types it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.chats import FALSE, TRUE, Asked, chat_server, fails, says
from tests.papers import write_pdf
from vrag.cli import main
from vrag.data.dataset import read_trajectories
from vrag.data.tasks import write_tasks
from vrag.types import Evidence, PageRef, Task

YEARS = {"amber harbour": "1984", "kelp farm": "2003"}


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A corpus `mine`, and tasks about it."""
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(tmp_path / "docs/kelp.pdf", ["The kelp farm was sold in 2003"])
    assert main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"]) == 0
    tasks = [
        Task(
            id=name,
            question=f"When was the {name}?",
            answers=[year],
            gold=[Evidence(ref=PageRef(document=f"{name.split()[0]}.pdf", page=1))],
        )
        for name, year in YEARS.items()
    ]
    write_tasks(tmp_path / "tasks.jsonl", tasks)
    capsys.readouterr()
    return tmp_path


def answers(asked: Asked) -> None:
    """Search, look, and answer in words that only a judge takes; of the second task a wrong answer."""
    messages: list[dict[str, Any]] = asked.body["messages"]
    text = json.dumps(messages[0]["content"])
    name = next((name for name in YEARS if name in text), "")
    said = [
        f"<think>where?</think><search>{name}</search>",
        "<think>small</think><look>the year</look>",
        "<think>there</think><answer>in the mid-eighties</answer>",
    ]
    if asked.body["model"] == "big":
        says(said[sum(message["role"] == "assistant" for message in messages)], 1000, 30)(asked)
    elif asked.body["model"] == "exact":
        says('{"bbox_2d": [100, 100, 600, 300]}', 800, 20)(asked)
    else:
        right = "seven" in text or ("amber" in text and "week" not in text)
        says(TRUE if right else FALSE, 90, 3)(asked)


def construct(folder: Path, url: str, *options: str, target: str = "qwen2_5_vl") -> int:
    command = ["data", "construct", str(folder / "set"), "-c", "mine", "--tasks", str(folder / "tasks.jsonl")]
    models = ["--planner", url, "--planner-model", "big", "--grounder", url, "--grounder-model", "exact"]
    judge = ["--judge", url, "--judge-model", "fair", "--judge-set", f"cache={folder / 'verdicts.sqlite'}"]
    frame = ["--set", "grounder.frame=relative1000"]
    return main([*command, "--for", target, *models, *judge, *frame, *options])


@pytest.mark.parametrize("target", ["qwen2_5_vl", "qwen3_vl"])
def test_trajectories_are_constructed_counted_and_exported(
    target: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(answers) as server:
        assert construct(folder, server.url, target=target) == 0
        out, error = capsys.readouterr()
        assert re.search(
            r"^0 tasks done: [01] accepted, [01] dropped, 0 failed; \d+ calls, \d,\d+ tokens$", error, re.M
        )
        assert out.startswith("1 episodes (1 answer, 1 bbox, 1 search), 2 images; dropped: 1 wrong answer; 0 left out")
        assert "grounder: 2 calls, 1,600 + 40 tokens\n" in out and "planner: 6 calls, 6,000 + 180 tokens\n" in out
        assert "for each episode kept: 10.0 calls, 7,780 + 226 tokens\n" in out
        asked = len(server.asked)
        assert construct(folder, server.url, "--json", target=target) == 0
        assert json.loads(capsys.readouterr().out)["kept"] == 1 and len(server.asked) == asked
    (trajectory,) = read_trajectories(folder / "set")
    assert trajectory.answer == "in the mid-eighties" and trajectory.reward is not None
    assert main(["data", "export", str(folder / "set"), str(folder / "trl"), "--to", "trl"]) == 0
    assert capsys.readouterr().out.startswith("1 episodes, 2 images, 0 left out\n")


def test_a_failed_run_says_so_and_its_rerun_may_name_another_server_and_balance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda asked: (fails(500) if asked.body["model"] == "exact" else answers)(asked)) as server:
        assert construct(folder, server.url) == 1
        error = capsys.readouterr().err
        assert "2 episodes failed, a rerun tries them again" in error and "grounder http" in error
    with chat_server(answers) as server:
        assert construct(folder, server.url, "--set", "balance.cap=5", "--set", "concurrency=2") == 0
        assert construct(folder, server.url, "--set", "balance.share=0.5") == 2
        assert "1 groups of accepted episodes allow no share below 1" in capsys.readouterr().err
        assert construct(folder, server.url, "--set", "filters.gold=false") == 2
        assert "filters.gold" in capsys.readouterr().err


def test_both_models_have_to_be_named_and_a_recipe_may_do_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "construct", str(folder / "set"), "-c", "mine", "--tasks", str(folder / "tasks.jsonl")]
    command += ["--for", "qwen3_vl"]
    assert main(command) == 2
    assert "--planner URL" in capsys.readouterr().err
    assert main([*command, "--planner", "http://127.0.0.1:1/v1"]) == 2
    assert "planner.model" in capsys.readouterr().err and not (folder / "set").exists()
    with chat_server(answers) as server:
        recipe = folder / "recipe.toml"
        models = {"planner": "big", "grounder": "exact"}
        groups = "".join(f'[{who}]\nurl = "{server.url}"\nmodel = "{name}"\n' for who, name in models.items())
        recipe.write_text(f"max_turns = 3\n{groups}[filters]\nright = false\n", encoding="utf-8")
        assert main([*command, "--recipe", str(recipe), "--set", "grounder.frame=relative1000", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["kept"] == 2 and manifest["environment"]["max_turns"] == 3
    assert main([*command, "--set", "planer.url=x"]) == 2
    assert "did you mean planner?" in capsys.readouterr().err
