"""`vrag doctor` on this machine: without torch, and with an exit code that says whether what was asked for is here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chats import chat_server, says
from tests.papers import write_report
from vrag.cli import main
from vrag.evaluation.baselines import baselines


def report(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_nothing_that_was_not_asked_for_is_wanting(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(capsys)
    assert code == 0 and found["wanting"] == [] and found["endpoints"] == []
    assert [one["recipe"] for one in found["recipes"]] == list(baselines())
    sizes = {(one["name"], one["role"]): one["parameters"] for one in found["models"]}
    assert sizes["extractive", "policy"] == 0 and 3e6 < sizes["tiny", "policy"] < 4e6 and sizes["tiny", "encoder"] > 2e6


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from vrag.cli import main; main(['doctor', '--policy', 'tiny', '--encoder', 'tiny']);"
        "sys.exit(bool({'torch', 'transformers', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Recipes with tiny, 10,000 pages" in done.stdout and "unknown" in done.stdout


def test_a_corpus_gives_figures_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(tmp_path / "docs/report.pdf", 1, 3)
    corpus = str(tmp_path / "corpus")
    assert main(["index", str(tmp_path / "docs"), "-c", corpus, "--workers", "1", "--ocr", "off"]) == 0
    capsys.readouterr()
    code, found = report(capsys, "--corpus", corpus)
    images = sum(file.stat().st_size for file in Path(corpus).glob("pages/*/*.jpg"))
    assert code == 0 and found["pages"] == found["corpus"]["pages"] == 3
    assert found["recipes"][0]["page_images"] == images
    assert found["recipes"][0]["index"] == (Path(corpus) / "catalog.sqlite").stat().st_size
    assert report(capsys, "--corpus", corpus, "--pages", "30")[1]["recipes"][0]["page_images"] == 10 * images


def test_what_was_asked_for_and_is_missing_is_named_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        ("--search", "http://127.0.0.1:1"): "search server http://127.0.0.1:1: ConnectError",
        ("--corpus", str(tmp_path / "none")): "no corpus",
        ("--policy", str(tmp_path)): "no weights",
        ("--encoder", str(tmp_path)): "no weights",
        ("--recipe", "react-text"): "recipe react-text: a model",
    }
    for options, reason in asked.items():
        code, found = report(capsys, *options)
        assert code == 1 and reason in found["wanting"][0], options
    assert report(capsys, "--recipe", "vrag")[0] == 0
    assert main(["doctor", "--recipe", "vrga"]) == 2


def test_a_served_policy_is_asked_and_its_weights_are_not_needed_here(capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(says("hi")) as server:  # it answers no GET
        code, found = report(capsys, "--policy", server.url, "--policy-model", "qwen3-vl")
    assert code == 1 and "501" in found["wanting"][0]
    assert found["recipes"][-1]["memory"] == 0 and found["recipes"][-1]["missing"] != []
