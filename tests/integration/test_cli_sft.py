"""From tasks to trajectories to SFT and to other trainers, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.papers import write_pdf
from tests.tiny import make_tiny
from tests.trajectories import environment_of
from vrag.cli import main
from vrag.data.tasks import read_tasks, write_tasks
from vrag.policies.load import SETTINGS, load_model, save_policy
from vrag.policies.speaker import environment_for
from vrag.runs import read_lines
from vrag.training.origin import read_origin
from vrag.types import Box, Evidence, PageRef, Task

# peft 0.21 asks transformers 5.24 for what has another name there
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A corpus `mine`, tasks of which one has no gold page, and a checkpoint with the paper's settings."""
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(tmp_path / "docs/kelp.pdf", ["The kelp farm was sold in 2003"])
    assert main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"]) == 0
    box = Box(x1=0.1, y1=0.05, x2=0.5, y2=0.1)
    tasks = [
        Task(
            id=name,
            question=f"When was the {name}?",
            answers=[answer],
            gold=[Evidence(ref=PageRef(document=f"{name.split()[0]}.pdf", page=1), box=box)],
        )
        for name, answer in (("amber harbour", "1984"), ("kelp farm", "2003"))
    ]
    write_tasks(tmp_path / "tasks.jsonl", [*tasks, Task(id="bare", question="?", answers=["1"])])
    tiny = make_tiny("qwen3_vl")
    save_policy(tmp_path / "model", tiny.model, tiny.codec, environment_of(tiny))
    capsys.readouterr()
    return tmp_path


def construct(folder: Path, out: str, target: str, *options: str) -> int:
    command = ["data", "trajectories", str(folder / out), "-c", "mine", "--tasks", str(folder / "tasks.jsonl")]
    return main([*command, "--for", target, *options])


def train(folder: Path, *options: str) -> int:
    settings = ["epochs=2", "batch=2", "precision=fp32", "lora.rank=2"]
    command = ["train", "sft", "--model", str(folder / "model"), "--out", str(folder / "run"), *options]
    return main([*command, *(part for one in settings for part in ("--set", one))])


def test_trajectories_are_made_trained_on_and_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("peft")
    assert construct(folder, "set", str(folder / "model"), "--json") == 0
    said = capsys.readouterr()
    assert "1 of 3 tasks have no gold box" in said.err
    manifest = json.loads(said.out)
    assert manifest["kept"] == 2 and manifest["dropped"] == {"unusable task": 1}
    assert manifest["environment"] == environment_for(str(folder / "model")).model_dump(mode="json")

    assert train(folder, "--trajectories", str(folder / "set")) == 0
    final = Path(capsys.readouterr().out.strip())
    assert final == folder / "run" / "final" and len(read_lines(folder / "run" / "metrics.jsonl")) == 2
    assert environment_for(str(final)) == environment_for(str(folder / "model"))
    assert not any("lora" in name for name, _ in load_model(final).named_parameters())

    for trainer in ("llamafactory", "trl"):
        assert main(["data", "export", str(folder / "set"), str(folder / trainer), "--to", trainer]) == 0
        assert capsys.readouterr().out.startswith("2 episodes, 4 images, 0 left out\n")


def test_a_dataset_of_the_other_family_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert construct(folder, "other", "qwen2_5_vl") == 0
    assert "2 episodes" in capsys.readouterr().out
    assert train(folder, "--trajectories", str(folder / "other")) == 1
    error = capsys.readouterr().err
    assert "absolute" in error and "--for" in error and not (folder / "run").exists()


@pytest.mark.parametrize("options", [[], ["--corpus", "mine"], ["--trajectories", "set", "--corpus", "mine"]])
def test_one_source_of_episodes_is_asked_for(
    options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder, *options) == 2
    assert "either --trajectories" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "said"), [("qwen9", "no checkpoint at qwen9"), ("qwen3_vl", "no-such-corpus")])
def test_what_cannot_be_made_is_said(target: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = ["-c", "no-such-corpus"] if said == "no-such-corpus" else []
    assert construct(folder, "set", target, *corpus) in (1, 2)
    assert said in capsys.readouterr().err and not (folder / "set").exists()


def test_a_run_is_not_continued_from_another_model_or_with_other_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    tasks = folder / "tasks.jsonl"
    write_tasks(tasks, read_tasks(tasks)[:2])
    data = ["--corpus", "mine", "--tasks", str(tasks)]
    assert train(folder, *data) == 0
    assert train(folder, *data) == 0, "the same goes on"
    other = make_tiny("qwen3_vl")
    save_policy(folder / "other", other.model, other.codec, environment_of(other))
    capsys.readouterr()
    assert train(folder, *data, "--model", str(folder / "other")) == 2
    assert f"model: {folder / 'model'} there, {folder / 'other'} now" in capsys.readouterr().err
    write_tasks(tasks, read_tasks(tasks)[:1])
    assert train(folder, *data) == 2
    assert "holds a run that began otherwise (data: " in capsys.readouterr().err


def test_training_searches_as_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("peft")
    pytest.importorskip("sentence_transformers")
    assert main(["index", "-c", "mine", "--encoder", "tiny"]) == 0
    data = ["--corpus", "mine", "--tasks", str(folder / "tasks.jsonl")]
    assert train(folder, *data, "--by", "visual") == 0
    origin = read_origin(folder / "run")
    assert origin is not None and origin.by == "visual" and "--by visual" in origin.command
    capsys.readouterr()
    assert train(folder, *data) == 2, "both are searched where there are vectors"
    assert "search by: visual there, fused now" in capsys.readouterr().err
    assert construct(folder, "set", str(folder / "model")) == 0
    assert train(folder, "--trajectories", str(folder / "set"), "--by", "text") == 2
    assert "leave --by and --encoder out" in capsys.readouterr().err


def test_the_expert_searches_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = folder / "model" / SETTINGS
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"first_search": True}))
    assert train(folder, "--corpus", "mine", "--tasks", str(folder / "tasks.jsonl")) == 2
    assert "first_search on" in capsys.readouterr().err
