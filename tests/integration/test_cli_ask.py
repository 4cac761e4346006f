"""`vrag ask` as a person or a script uses it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.agents import plays
from tests.chats import chat_server, fails
from tests.papers import write_pdf
from vrag.cli import main
from vrag.cli.progress import printable
from vrag.cli.retries import Retries
from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError
from vrag.policies.load import SETTINGS
from vrag.policies.scripted import ScriptedPolicy
from vrag.policies.speaker import speaker
from vrag.testing import MemoryStore


@pytest.fixture
def corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    pages = [
        ["Installation", "Unpack the archive and run the script."],
        ["Network settings", "The daemon listens on port 873 by default.", "Logs are kept for a week."],
    ]
    write_pdf(tmp_path / "docs/manual.pdf", pages)
    assert vrag("index", tmp_path / "docs", "-c", "mine", "--workers", 1, "--ocr", "off") == 0
    capsys.readouterr()
    return "mine"


def picture(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_the_answer_and_its_place_are_on_stdout_and_the_steps_on_stderr(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "Which port does the daemon listen on?"
    assert vrag("ask", question, "-c", corpus, "-o", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "873" in lines[0]
    assert lines[1].startswith("manual.pdf, page 2, box [")
    assert [Path(line).name for line in lines[2:]] == ["page.png", "crop.png"]
    assert "search  port daemon listen" in err and "crop    [" in err


def test_nothing_is_written_without_being_asked_for(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert vrag("ask", "daemon port", "-c", corpus) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert vrag("ask", "daemon port", "-c", corpus, "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"] == {}
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_only_corpus_need_not_be_named(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("ask", "search"):
        assert vrag(verb, "daemon port") == 0
        assert "manual.pdf" in capsys.readouterr().out
    assert vrag("index", tmp_path / "docs", "-c", "other", "--workers", 1, "--ocr", "off") == 0
    for verb in ("ask", "search"):
        assert vrag(verb, "daemon port") == 2
        assert "which corpus? Name one as --corpus: mine, other" in capsys.readouterr().err


def test_words_of_no_page_are_told_with_what_may_be_meant(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vrag("search", "instalation archive", "-c", corpus) == 0
    assert capsys.readouterr().err == "on no page: instalation (did you mean installation?)\n"
    assert vrag("ask", "Where could the deamon listenes?", "-c", corpus) == 1
    assert "on no page: deamon (did you mean daemon?), listenes (did you mean listens?)\n" in capsys.readouterr().err
    assert vrag("ask", "Which port does the daemon use?", "-c", corpus) == 0
    assert "on no page" not in capsys.readouterr().err


def test_without_any_corpus_the_way_to_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert vrag("ask", "daemon port") == 2
    assert "no corpus yet: make one with `vrag index PATH --corpus NAME`" in capsys.readouterr().err


def test_a_corpus_without_pages_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"junk")
    assert vrag("index", tmp_path / "bad.pdf", "-c", "mine", "--workers", 1) == 1
    capsys.readouterr()
    for verb in ("ask", "search"):
        assert vrag(verb, "daemon port", "-c", "mine") == 1
        out, err = capsys.readouterr()
        assert out == "" and "corpus 'mine' has no pages: `vrag index PATH --corpus mine` adds some" in err


def test_the_box_is_drawn_on_the_page_and_the_crop_is_what_it_holds(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("ask", "daemon port", "-c", corpus, "-o", tmp_path / "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["stop"] == "answer" and result["evidence"]["ref"] == {"document": "manual.pdf", "page": 2}
    x1, y1, x2, y2 = result["pixels"]
    page, crop = (picture(result["files"][name]) for name in ("page", "crop"))
    assert crop.size == (x2 - x1, y2 - y1)
    assert (220, 20, 60) in {page.getpixel((int(x1) - 2, int(y))) for y in range(int(y1), int(y2))}
    box = result["evidence"]["box"]
    assert box["x1"] == pytest.approx(x1 / page.width) and box["y2"] == pytest.approx(y2 / page.height)
    assert [turn["action"]["name"] for turn in result["turns"]] == ["search", "bbox", "answer"]


def test_nothing_found_is_an_answer_without_a_place(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("ask", "zebra", "-c", corpus, "-o", tmp_path / "out") == 1
    assert capsys.readouterr().out == "not found\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("said", "out"), [("<answer>Not found.</answer>", "Not found.\n"), ("hm", None)])
def test_what_is_no_answer_has_no_place_though_pages_were_shown(
    corpus: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    out: str | None,
) -> None:
    assert vrag("ask", "daemon port", "-c", corpus, "-o", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    capsys.readouterr()
    script = ["<search>daemon</search>", "<bbox>[1, 1, 90, 90]</bbox>", *[said] * 9]
    monkeypatch.setattr("vrag.policies.speaker.ExtractivePolicy", lambda *_: ScriptedPolicy(script))
    assert vrag("ask", "daemon", "-c", corpus, "-o", tmp_path / "out") == 1
    assert capsys.readouterr().out == (out or "no answer: the episode ended for invalid\n")
    assert not list((tmp_path / "out").iterdir()), "pictures of the earlier question"
    assert vrag("ask", "daemon", "-c", corpus, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["found"] is False and told["evidence"] is None and told["pixels"] is None
    assert told["turns"][1]["observation"]["kind"] == "crop"


def test_an_episode_without_an_answer_is_exit_code_1(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vrag.policies.speaker.ExtractivePolicy", lambda *_: ScriptedPolicy(["hm"] * 9))
    assert vrag("ask", "daemon", "-c", corpus, "-o", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert "no answer: the episode ended for invalid" in out and "invalid no action" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["daemon", "-c", "nowhere"], 1, "no corpus 'nowhere'"),
        (["daemon", "-c", "mine", "-p", "nowhere"], 2, "no checkpoint at nowhere"),
        (["daemon", "-c", "mine", "-p", "nowhere"], 2, "or extractive, which needs no model"),
        ([" ", "-c", "mine"], 2, "the question is empty"),
    ],
)
def test_what_cannot_be_asked_is_said(
    corpus: str, args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("ask", *args) == code
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert vrag("ask", "daemon port", "-c", corpus, "-o", tmp_path / "file") == 1
    assert "choose another --out" in capsys.readouterr().err


def test_fewer_turns_make_the_policy_run_out_of_them(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("ask", "daemon port", "-c", corpus, "-o", tmp_path / "out", "--max-turns", 1) == 1
    assert "ended for turns" in capsys.readouterr().out


def test_the_extractive_speaker_writes_boxes_in_the_frame_of_its_environment() -> None:
    found = speaker("extractive", MemoryStore())
    assert found.codec is None and found.config == EnvironmentConfig()


def test_settings_of_a_checkpoint_that_do_not_validate_are_an_error_that_names_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / SETTINGS).write_text('{"max_turnz": 3}')
    with pytest.raises(CheckpointError, match=SETTINGS):
        speaker(str(tmp_path), MemoryStore())


def test_a_served_model_answers_with_its_steps_its_evidence_and_what_it_cost(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(plays({"port": "873"})) as server:
        served = ["--policy", server.url, "--policy-model", "Qwen/Qwen2.5-VL-3B-Instruct"]
        assert vrag("ask", "Which port?", "-c", corpus, "-o", tmp_path / "out", *served, "--json") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["answer"], result["policy"]) == ("873", "Qwen/Qwen2.5-VL-3B-Instruct")
    assert result["evidence"]["ref"] == {"document": "manual.pdf", "page": 2} and result["evidence"]["box"]
    assert result["usage"] == {"calls": 3, "prompt_tokens": 300, "completion_tokens": 21, "cost": None}
    assert "search  Which port" in err and "manual.pdf, page 2, pixels [" in err


def test_a_served_model_that_fails_is_one_line_and_no_answer(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(fails(404)) as server:
        served = ["--policy", server.url, "--policy-model", "qwen3-vl"]
        assert vrag("ask", "Which port?", "-c", corpus, "-o", tmp_path / "out", *served) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "policy server" in err and "does it have the model qwen3-vl?" in err


def test_a_question_needs_no_quotes(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vrag("ask", "daemon", "port", "-c", corpus, "--json") == 0
    assert json.loads(capsys.readouterr().out)["question"] == "daemon port"
    assert vrag("search", "daemon", "port", "-c", corpus, "--json") == 0
    assert json.loads(capsys.readouterr().out)["query"] == "daemon port"


def test_an_empty_query_is_a_usage_error(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("ask", "search"):
        assert vrag(verb, " ", "-c", corpus) == 2
        assert "is empty" in capsys.readouterr().err


def test_a_name_that_no_corpus_has_is_answered_with_what_it_may_stand_for(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vrag("search", "port", "-c", f"{corpus}x") == 1
    assert f"did you mean {corpus}? corpora: {corpus}" in capsys.readouterr().err
    assert vrag("snapshot", tmp_path / "backup", "-c", corpus) == 0
    monkeypatch.chdir(tmp_path)
    assert vrag("search", "port", "-c", "backup") == 1
    assert "did you mean ./backup?" in capsys.readouterr().err


def test_a_retry_is_said_in_words(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(fails(503), fails(404)) as server:
        served = ["--policy", server.url, "--policy-model", "qwen3-vl"]
        assert vrag("ask", "daemon port", "-c", corpus, *served) == 1
    first, last = capsys.readouterr().err.splitlines()
    assert "answered 503" in first and "; again in " in first
    assert "does it have the model qwen3-vl?" in last


def test_what_a_terminal_is_shown_has_no_control_characters_and_any_white_space_as_a_space() -> None:
    assert printable("3.45\u202fPM\nline\x1b[31m") == "3.45 PM line�[31m"


def test_a_retry_after_an_error_without_words_names_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    happened = {"stamina.caused_by": repr(httpx.ReadTimeout("")), "stamina.wait_for": 0.55}
    Retries().emit(logging.makeLogRecord(happened))
    assert capsys.readouterr().err == "vrag: ReadTimeout; again in 0.55 s\n"
