"""`vrag eval` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chats import FALSE, TRUE, ChatServer, chat_server, repeats_the_key, says
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
    assert isinstance(shown, dict) and shown["recall"]["10"]["value"] == 1.0


def test_the_table_names_the_measures(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tasks) == 0
    out = capsys.readouterr().out
    assert "extractive on mine" in out and "right answers" in out and "3 + 0 = 3" in out


def test_the_table_is_followed_by_where_each_answer_is_seen(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tasks) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == f"vrag: each answer: vrag app --corpus mine --runs {tasks.parent / 'run'}"
    rows = [line.strip() for line in printed.out.splitlines()]
    assert len(rows) < 25 and not any(row.startswith(("unknown", "1 hop")) for row in rows)


def test_a_right_fact_in_a_sentence_is_shown_and_the_judge_is_named(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = says("<answer>It was in 1984 or in 2003; see page 1.</answer>")
    with chat_server(said) as server:
        policy = ["--policy", server.url, "--policy-model", "Qwen/Qwen2.5-VL-7B-Instruct"]
        assert evaluate(tasks, *policy) == 0
        printed = capsys.readouterr()
    rows = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert any(row.startswith("right answers 0.0 %") for row in rows)
    assert any(row.startswith("gold answer stands in the answer 66.7 %") for row in rows)
    (hint,) = [line for line in printed.err.splitlines() if "--judge URL" in line]
    assert "66.7 % of the answers" in hint and "0.0 % are right by rules" in hint


def test_help_of_the_verb_has_the_options_of_answering(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--help"]) == 0
    out = capsys.readouterr().out
    assert "compare" in out and "--benchmark" in out and "--judge" in out


def test_a_rerun_adds_nothing_and_says_so(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--json")
    first, log = summary(capsys), tasks.parent / "run" / "episodes.jsonl"
    before = log.read_bytes()
    evaluate(tasks, "--json")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == first and "3 of 3 episodes were there already" in printed.err
    assert log.read_bytes() == before


def test_another_setting_needs_another_folder_or_overwrite(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks)
    assert evaluate(tasks, "--limit", "2") == 2
    assert "the questions changed since that run: add --overwrite" in capsys.readouterr().err
    assert evaluate(tasks, "--limit", "2", "--overwrite", "--json") == 0
    assert summary(capsys)["episodes"] == 2


def test_more_of_the_questions_and_further_seeds_are_added_to_a_run(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = tasks.parent / "run" / "episodes.jsonl"
    assert evaluate(tasks, "--limit", "2") == 0
    first = episodes.read_text().splitlines()
    assert evaluate(tasks, "--concurrency", "3", "--json") == 0
    printed = capsys.readouterr()
    assert "2 of 3 episodes were there already" in printed.err
    assert episodes.read_text().splitlines()[:2] == first
    assert evaluate(tasks, "--seeds", "4,0", "--json") == 0
    grown = summary(capsys)
    assert (grown["episodes"], grown["questions"]) == (6, 3)
    assert evaluate(tasks, "--seeds", "0") == 2  # would leave out what is there
    assert "settings.seeds: [4, 0] there, [0] now" in capsys.readouterr().err
    assert evaluate(tasks, "--seeds", "0,4,5", "--temperature", "0.5") == 2
    (row, *rest) = tasks.read_text().splitlines()
    tasks.write_text("\n".join([row.replace("1984", "1985"), *rest]) + "\n")
    assert evaluate(tasks, "--seeds", "4,0") == 2
    assert "the questions changed" in capsys.readouterr().err


def test_a_run_that_grows_is_unfinished_until_it_is_through(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tasks.parent / "run" / "summary.json"
    assert evaluate(tasks, "--limit", "2") == 0 and kept.is_file()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vrag.evaluation.runner.rollout_many", interrupted)
        assert evaluate(tasks) == 130
    assert not kept.exists() and capsys.readouterr()
    assert evaluate(tasks, "--json") == 0
    assert summary(capsys)["episodes"] == 3 and kept.is_file()


def test_a_kind_in_brackets_is_shown_as_it_is(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) | {"kind": "[/table]"} for line in tasks.read_text().splitlines()]
    rows[0]["kind"] = "chart"
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert evaluate(tasks) == 0
    assert "[/table]" in capsys.readouterr().out


def test_each_seed_runs_every_question(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--seeds", "0,7", "--json")
    printed = summary(capsys)
    assert (printed["episodes"], printed["questions"]) == (6, 3)
    assert set(printed["by_sample"]) == {"0.0", "7.0"}  # type: ignore[call-overload]


def test_without_crops_no_crop_is_made(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tasks, "--json")
    assert summary(capsys)["crops"] == 1.0
    evaluate(tasks, "--recipe", "react-visual", "--overwrite", "--json")
    assert summary(capsys)["crops"] == 0.0
    for recipe in ("react-visual", "vanilla-rag-visual", "vanilla-rag-visual-top5"):
        evaluate(tasks, "--recipe", recipe, "--overwrite", "--json")
        found = summary(capsys)
        assert found["invalid"]["value"] == 0.0 and found["accuracy"]["value"] == pytest.approx(2 / 3)  # type: ignore[index]


def judge(server: ChatServer) -> list[str]:
    return ["--judge", server.url, "--judge-model", "Qwen/judge", "--judge-set", "attempts=1"]


def test_a_judge_scores_what_the_rules_call_wrong_and_the_summary_says_what_it_cost(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(says(TRUE, 100, 5)) as server:
        assert evaluate(tasks, *judge(server), "--json") == 0
        first = summary(capsys)
        assert evaluate(tasks, *judge(server), "--json") == 0
        assert summary(capsys) == first and len(server.asked) == 1
    assert server.asked[0].body["model"] == "Qwen/judge"
    assert isinstance(first["accuracy"], dict) and first["accuracy"]["value"] == 1.0
    judged = first["judge"]
    assert isinstance(judged, dict) and judged["agreement"]["value"] == pytest.approx(2 / 3)
    counts = {name: judged[name] for name in ("judged", "unscored", "by_rules", "asked", "calls", "only_judge")}
    assert counts == {"judged": 3, "unscored": 0, "by_rules": 2, "asked": 1, "calls": 1, "only_judge": 1}
    assert (judged["prompt_tokens"], judged["completion_tokens"]) == (100, 5)
    config = json.loads((tasks.parent / "run" / "run.json").read_text())
    assert config["judge"]["model"] == "Qwen/judge" and "url" not in config["judge"]


def test_the_table_names_what_the_judge_did(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(says(FALSE, 100, 5)) as server:
        assert evaluate(tasks, *judge(server)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "judged by a model, cache, rules 1, 0, 2" in lines
    assert "judge's requests, tokens in + out 1, 100 + 5" in lines
    assert any(line.startswith("judge and rules agree 100.0 %") for line in lines)


def test_what_a_judge_could_not_say_is_not_wrong_and_is_asked_again(
    tasks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRAG_JUDGE_KEY", "canary-4a8a08f09d37b737")
    with chat_server(repeats_the_key) as server:
        assert evaluate(tasks, *judge(server), "--json") == 0
        printed = capsys.readouterr()
    failed = json.loads(printed.out)
    assert (failed["scored"], failed["errored"]) == (2, 1) and failed["accuracy"]["value"] == 1.0
    assert "1 of 3 episodes have no score (first: c: answer: judge http" in printed.err
    files = b"".join(file.read_bytes() for file in (tasks.parent / "run").iterdir())
    assert "canary" not in printed.out + printed.err and b"canary" not in files
    with chat_server(says(FALSE)) as server:  # at another place
        assert evaluate(tasks, *judge(server), "--json") == 0
    judged = summary(capsys)
    assert (judged["scored"], judged["errored"]) == (3, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--judge", "http://127.0.0.1:1/v1"], "--judge-model"),
        (["--judge-set", "timeout=1"], "--judge URL"),
        (["--judge", "127.0.0.1:1", "--judge-model", "m"], "like http"),
        (["--judge", "http://a/v1", "--judge-model", "m", "--judge-set", "tiemout=1"], "timeout"),
        (["--seeds", "one"], "--seeds 'one'"),
        (["--seeds", "1,1"], "twice"),
        (["--policy", "nothing-here"], "nothing-here"),
        (["--policy", "http://127.0.0.1:1/v1"], "--policy-model"),
        (["--policy-model", "m"], "--policy URL"),
        (["--policy", "http://127.0.0.1:1/v1", "--policy-model", "m"], "family=other"),
        (["--policy", "ftp://a", "--policy-model", "qwen3-vl"], "like http"),
        (["--policy", "http://a/v1", "--policy-model", "m", "--policy-set", "famly=other"], "policy.family"),
        (["--recipe", "react-visul"], "did you mean react-visual?"),
        (["--recipe", "absent.toml"], "absent.toml"),
        (["--set", "max_turn=3"], "max_turns"),
        (["--set", "show=text"], "no image to crop"),
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
