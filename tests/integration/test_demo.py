"""`vrag demo` from end to end on a model that knows nothing yet: mechanics and resume, not learning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vrag.app.measuring import choose
from vrag.cli import main
from vrag.policies.load import save_policy
from vrag.training.tiny import TinyShape, make_image_processor, make_model, make_tokenizer
from vrag.types import Task

SMALL = [
    "train_documents=4",
    "heldout_documents=4",
    "questions=3",
    "trajectories=2",
    "rl.steps=2",
    "rl.groups=1",
    "rl.group_size=2",
    "rl.limits_turn_tokens=24",
    "rl.checkpoints.every=1",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, smaller than vrag-tiny."""
    from vrag.app.tiny.recipe import tiny_environment
    from vrag.codecs.qwen_vl import QwenVLCodec

    shape = TinyShape(vocabulary=320, hidden=96, layers=2, heads=3, intermediate=128, vision_layers=1)
    tokenizer = make_tokenizer(["user\nQuestion: How many?\nassistant\n"], shape.vocabulary)
    path = tmp_path_factory.mktemp("model") / "random"
    codec = QwenVLCodec(tokenizer, make_image_processor(shape))
    save_policy(path, make_model(shape, tokenizer, seed=0), codec, tiny_environment(shape))
    return path


def demo(checkpoint: Path, out: Path, *settings: str) -> int:
    said = [f"model={checkpoint}", *SMALL, *settings]
    return main(["demo", "--out", str(out), *[part for setting in said for part in ("--set", setting)]])


def test_the_demo_ends_with_its_report_and_a_rerun_repeats_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(checkpoint, tmp_path / "demo") == 0
    report = tmp_path / "demo" / "report.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(report)
    assert "Reward in training" in report.read_text(encoding="utf-8")

    written = ["before/episodes.jsonl", "rl/metrics.jsonl", "after/episodes.jsonl"]
    before = {name: (tmp_path / "demo" / name).read_bytes() for name in written}
    assert [len(before[name].splitlines()) for name in written] == [3, 2, 3]
    assert {json.loads(line)["step"] for line in before["rl/metrics.jsonl"].splitlines()} == {0, 1}

    assert demo(checkpoint, tmp_path / "demo") == 0
    assert {name: (tmp_path / "demo" / name).read_bytes() for name in written} == before


def test_the_demo_without_a_model_needs_no_model_library(tmp_path: Path) -> None:
    settings = [part for one in ("model=extractive", *SMALL[1:4]) for part in ("--set", one)]
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'safetensors']));"
        f"from vrag.cli import main; sys.exit(main(['demo', '--out', {str(tmp_path / 'demo')!r}, *{settings}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'demo' / 'report.html'}\n"), done.stderr
    assert len((tmp_path / "demo" / "extractive" / "episodes.jsonl").read_text().splitlines()) == 3
    assert "without a model" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")


def test_what_the_demo_without_a_model_does_not_have_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), "--set", "model=extractive", "--set", "rl.steps=3"]) == 2
    assert "rl" in capsys.readouterr().err


def test_a_demo_with_other_settings_needs_another_folder(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert demo(checkpoint, tmp_path / "demo") == 2
    assert "holds no run" in capsys.readouterr().err
    assert demo(checkpoint, tmp_path / "other", "rl.step=3") == 2
    assert "steps" in capsys.readouterr().err, "an unknown setting suggests the nearest"


def test_questions_are_chosen_by_seed_and_keep_their_order() -> None:
    tasks = [Task(id=f"q{number:02}", question="?") for number in range(30)]
    chosen = [task.id for task in choose(tasks, 10, seed=1)]
    assert chosen == sorted(chosen) and len(set(chosen)) == 10
    assert chosen == [task.id for task in choose(tasks, 10, seed=1)]
    assert chosen != [task.id for task in choose(tasks, 10, seed=2)]
    assert choose(tasks, 99, seed=1) == tasks
