"""The paper's agent and its baselines through `vrag eval`: what each is shown and may do, with any policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.agents import images, plays, texts
from tests.chats import Asked, chat_server
from tests.papers import write_pdf
from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.evaluation.baselines import baseline_environment, baselines
from vrag.types import Evidence, PageRef, Task

GOLD = {"amber": "1984", "kelp": "2003"}
QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"

# images and texts that the last request of an episode shows, and its turns; two pages match, the gold one better
SEEN: dict[str, tuple[int, int, int]] = {
    "vrag": (2, 0, 3),
    "react-visual": (1, 0, 2),
    "search-r1-vl": (1, 0, 2),
    "react-text": (0, 1, 2),
    "search-r1": (0, 1, 2),
    "vanilla-rag-visual": (1, 0, 2),
    "vanilla-rag-visual-top5": (2, 0, 2),
    "vanilla-rag-text": (0, 1, 2),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_pdf(folder / "docs/amber.pdf", ["The amber farm at the harbour was sold in 1984"])
    write_pdf(folder / "docs/kelp.pdf", ["The kelp farm at the harbour was sold in 2003"])
    assert main(["index", str(folder / "docs"), "-c", str(folder / "mine"), "--workers", "1", "--ocr", "off"]) == 0
    return folder / "mine"


def test_the_policy_that_looks_up_words_of_images_isnt_asked_over_text(
    tasks: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
):
    args = ["eval", "react-text", "-c", str(corpus), "--tasks", str(tasks), "--out", str(tasks.parent / "run")]
    assert main(args) == 2
    assert "extractive looks up words of the images" in capsys.readouterr().err
    assert not (tasks.parent / "run").exists()


@pytest.fixture
def tasks(tmp_path: Path, corpus: Path) -> Path:
    (tmp_path / "mine").symlink_to(corpus)
    rows = [
        Task(
            id=name,
            question=f"When was the {name} farm at the harbour sold?",
            answers=[year],
            gold=[Evidence(ref=PageRef(document=f"{name}.pdf", page=1))],
        )
        for name, year in GOLD.items()
    ]
    write_tasks(tmp_path / "tasks.jsonl", rows)
    return tmp_path / "tasks.jsonl"


def command(tasks: Path, *options: str) -> list[str]:
    folder = tasks.parent
    return ["eval", "-c", str(folder / "mine"), "--tasks", str(tasks), "--out", str(folder / "run"), *options]


def evaluate(tasks: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main([*command(tasks, *options), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def served(url: str) -> list[str]:
    return ["--policy", url, "--policy-model", QWEN]


def last_requests(asked: list[Asked]) -> list[Asked]:
    longest: dict[str, Asked] = {}
    for request in asked:
        question = texts(request)[0]
        if question not in longest or len(request.body["messages"]) > len(longest[question].body["messages"]):
            longest[question] = request
    return list(longest.values())


def test_every_recipe_of_the_package_is_measured_here() -> None:
    assert set(baselines()) == set(SEEN)


@pytest.mark.parametrize("recipe", SEEN)
def test_a_served_model_runs_every_recipe(recipe: str, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(plays(GOLD)) as server:
        summary = evaluate(tasks, capsys, *served(server.url), "--recipe", recipe)
    shown, read, turns = SEEN[recipe]
    assert (summary["scored"], summary["errored"], summary["accuracy"]["value"]) == (2, 0, 1.0)
    assert (summary["turns"], summary["searches"], summary["invalid"]["value"]) == (turns, 1.0, 0.0)
    assert summary["crops"] == (1.0 if recipe == "vrag" else 0.0)
    assert summary["first_search"]["recall"]["1"]["value"] == summary["coverage"]["value"] == 1.0
    assert summary["reward"]["total"] > 0.99
    ends = last_requests(server.asked)
    assert len(ends) == 2
    for end in ends:
        prompt, *said = texts(end)
        assert (len(images(end)), len(said)) == (shown, read)
        assert ("<bbox>" in prompt) == (recipe == "vrag")
        assert ("<search>" in prompt) == (not recipe.startswith("vanilla"))
        for text in said:
            assert re.search(r"\.pdf, page 1:\nThe", text) and (("2003" in text) or ("1984" in text))
    asked = len(server.asked)
    spent = {"calls": asked, "prompt_tokens": 100 * asked, "completion_tokens": 7 * asked}
    assert summary["usage"] == {**spent, "cost": None}


@pytest.mark.parametrize("recipe", [name for name, (shown, *_) in SEEN.items() if shown])
def test_the_extractive_policy_runs_every_recipe_that_shows_pages(
    recipe: str, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = evaluate(tasks, capsys, "--recipe", recipe)
    assert (summary["scored"], summary["usage"]) == (2, None) and summary["finished"]["value"] == 1.0
    assert summary["shown"]["recall"]["10"]["value"] > 0


def test_the_table_has_a_line_for_what_the_policy_cost_and_the_run_knows_no_url(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(plays(GOLD)) as server:
        assert main(command(tasks, *served(server.url))) == 0
        out = capsys.readouterr().out
        said = json.loads((tasks.parent / "run/run.json").read_text())
        files = b"".join(file.read_bytes() for file in (tasks.parent / "run").iterdir())
        assert server.url.encode() not in files and server.url not in out
    assert f"{QWEN} on " in out
    assert "agent's requests, tokens in + out 6, 600 + 42" in [" ".join(line.split()) for line in out.splitlines()]
    assert said["policy"] == {"model": QWEN, "extra": {}, "omit": [], "family": "auto"}
    with chat_server(plays(GOLD)) as server:  # it has moved
        assert evaluate(tasks, capsys, *served(server.url))["scored"] == 2 and server.asked == []


def test_the_key_is_sent_and_is_nowhere_else(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRAG_POLICY_KEY", "canary-77de68daecd823ba")
    with chat_server(plays(GOLD)) as server:
        assert main(command(tasks, *served(server.url))) == 0
    assert server.asked[0].headers["Authorization"] == "Bearer canary-77de68daecd823ba"
    printed = capsys.readouterr()
    files = b"".join(file.read_bytes() for file in (tasks.parent / "run").iterdir())
    assert "canary" not in printed.out + printed.err and b"canary" not in files


def test_a_recipe_of_ones_own_and_single_settings_change_the_environment(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tasks.parent / "mine.toml"
    own.write_text('[environment]\nprompt = "search-v1"\nactions = ["search", "answer"]\npages = 2\n')
    with chat_server(plays(GOLD)) as server:
        summary = evaluate(tasks, capsys, *served(server.url), "--recipe", str(own), "--set", "max_turns=7")
    said = json.loads((tasks.parent / "run/run.json").read_text())["environment"]
    assert (said["pages"], said["max_turns"], said["actions"]) == (2, 7, ["search", "answer"])
    assert [len(images(end)) for end in last_requests(server.asked)] == [2, 2] and summary["scored"] == 2


def test_a_mistake_in_a_recipe_names_the_file_and_the_nearest_setting(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tasks.parent / "mine.toml"
    own.write_text("[environment]\nfirst_serach = true\n")
    assert main(command(tasks, "--recipe", str(own))) == 2
    said = capsys.readouterr().err
    assert "mine.toml" in said and "did you mean environment.first_search?" in said and said.count("\n") == 1


def test_the_recipes_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(SEEN) and all(len(line.split()) > 3 for line in lines)


def test_a_policy_that_was_trained_without_instructions_keeps_its_prompt() -> None:
    own = baselines()["vrag"].environment.model_copy(update={"prompt": "brief-v1", "max_turns": 9})
    found = baseline_environment(own, "vanilla-rag-visual")
    assert (found.prompt, found.actions, found.first_search, found.max_turns) == ("brief-v1", ("answer",), True, 9)
    assert baseline_environment(own, "react-text", ["prompt=search-text-v1"]).prompt == "search-text-v1"
    assert baseline_environment(own) == own
