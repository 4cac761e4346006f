"""What a training command leaves behind: its card, samples, trackers' files, and a page to read it all on."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.papers import write_pdf
from tests.tiny import Tiny, make_tiny, spec_of
from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.environment import EnvironmentConfig
from vrag.hub import check_whole
from vrag.policies.load import save_policy
from vrag.runs import read_lines
from vrag.training.samples import read_samples
from vrag.types import Box, Evidence, PageRef, Task


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A corpus `mine` of one page, a task about it, and a checkpoint."""
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    assert main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"]) == 0
    gold = Evidence(ref=PageRef(document="amber.pdf", page=1), box=Box(x1=0.1, y1=0.05, x2=0.5, y2=0.1))
    write_tasks(tmp_path / "tasks.jsonl", [Task(id="a", question="When?", answers=["1984"], gold=[gold])])
    save_policy(tmp_path / "model", tiny.model, tiny.codec, EnvironmentConfig(view=spec_of(tiny)))
    capsys.readouterr()
    return tmp_path


def train(folder: Path, verb: str, *options: str) -> int:
    settings = {
        "rl": ["steps=2", "groups=1", "group_size=3", "limits_tokens=3000", "limits_turn_tokens=6", "algorithm.kl=0"],
        "sft": ["epochs=2", "batch=1", "precision=fp32"],
    }
    where = ["--corpus", "mine", "--tasks", str(folder / "tasks.jsonl"), "--model", str(folder / "model")]
    sets = [part for setting in settings[verb] for part in ("--set", setting)]
    return main(["train", verb, *where, "--out", str(folder / "run"), *sets, *options])


def card_of(folder: Path) -> str:
    return (folder / "run" / "final" / "README.md").read_text(encoding="utf-8")


def test_the_result_of_rl_has_a_card_made_from_the_run(folder: Path) -> None:
    assert train(folder, "rl", "--set", "alarms.window=1", "--set", "alarms.flat_groups=0") == 0
    card = card_of(folder)
    front, body = card.split("---\n")[1:]
    assert front.splitlines() == ["library_name: transformers", "pipeline_tag: image-text-to-text", "tags: [vrag, rl]"]
    assert f"`qwen3_vl` model, made from `{folder / 'model'}` by reinforcement learning" in body
    digest = hashlib.sha256((folder / "tasks.jsonl").read_bytes()).hexdigest()
    assert f"- 1 tasks: tasks.jsonl, SHA-256 {digest}" in body and "- Steps: 2, in " in body
    assert "- Command: `vrag train rl --corpus mine --tasks" in body and "--set alarms.window=1" in body
    rows = read_lines(folder / "run" / "metrics.jsonl")
    mean = (rows[0]["sampled_length"] + rows[1]["sampled_length"]) / 2
    assert f"| `sampled_length` | {mean:.4g} |" in body and "no measure of how well" in body
    assert "## Warnings" in body and "have equal rewards" in body
    settings = json.loads(body.split("```json\n")[1].split("```")[0])
    assert settings == json.loads((folder / "run" / "run.json").read_text())
    check_whole(folder / "run" / "final")


def test_the_result_of_sft_has_a_card_too(folder: Path) -> None:
    assert train(folder, "sft") == 0
    card = card_of(folder)
    assert "by supervised fine-tuning" in card and "- 1 episodes: tasks.jsonl, SHA-256" in card
    assert "| `exact` |" in card and "license" not in card and "## Warnings" not in card


def test_a_model_from_the_hub_is_named_with_its_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    snapshot = folder / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir()
    (folder / "model").rename(snapshot)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(snapshot))
    assert train(folder, "sft", "--model", "owner/model@v2") == 0
    card = card_of(folder)
    assert "base_model: owner/model\n" in card
    assert f"made from `owner/model@v2` at commit `{'c' * 40}`" in card


def test_the_judges_address_is_in_no_card() -> None:
    from vrag.training.origin import command_line

    said = command_line("train rl", {"out": Path("a b"), "set": ["x=1", "y=2"], "judge": "URL", "recipe": None})
    assert said == "vrag train rl --out 'a b' --set x=1 --set y=2 --judge URL"


def test_a_page_shows_the_curves_and_what_the_policy_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched = ["alarms.window=1", "alarms.flat_groups=0", "algorithm.kl=0.1"]  # with KL there is always an update
    assert train(folder, "rl", *(part for one in watched for part in ("--set", one))) == 0
    assert {kept.step for kept in read_samples(folder / "run")} == {0, 1}
    capsys.readouterr()
    assert main(["train", "report", str(folder / "run"), "-o", str(folder / "page.html")]) == 0
    assert capsys.readouterr().out == f"{folder / 'page.html'}\n"
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Entropy of the sampled tokens" in page and "Tokens written per episode" in page
    assert "<h2>Warnings</h2>" in page and "Steps 1 to 2: " in page
    notes = re.findall(r"step (\d) · (best|worst|random) of its batch", page)
    assert notes == [(step, why) for step in "21" for why in ("best", "worst", "random")]
    assert "vrag train rl --corpus mine" in page and not re.search(r'(src|href)="http', page)


def test_a_page_of_sft_and_of_a_killed_run(folder: Path) -> None:
    assert train(folder, "sft") == 0
    (folder / "run" / "origin.json").unlink()  # killed at once, or trained from Python
    assert main(["train", "report", str(folder / "run")]) == 0
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Sequences all right" in page and "<article" not in page


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "report", str(tmp_path)]) == 1
    assert "can't be read as a run's configuration" in capsys.readouterr().err


def test_tracking_is_asked_for_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    assert train(folder, "sft", "--track", "tensorboard") == 0
    assert capsys.readouterr().out == f"{folder / 'run' / 'final'}\n"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    rows = read_lines(folder / "run" / "metrics.jsonl")
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])


def test_an_unknown_tracker_is_said_before_anything_is_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, "sft", "--track", "mlflow") == 2
    assert "give one of tensorboard, trackio, wandb" in capsys.readouterr().err and not (folder / "run").exists()
