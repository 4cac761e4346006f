"""LLaMA-Factory and TRL read what is exported for them, each by its own loader, and make the tokens of our SFT."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import make_tiny
from tests.trajectories import environment_of, make_dataset, make_store, one_hop, two_hops
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.dataset import read_trajectories
from vrag.data.export import export
from vrag.data.replay import load_episodes
from vrag.episode import Episode
from vrag.errors import DataError, UsageError
from vrag.training.tiny import CHAT_TEMPLATE

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]
SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset for each family, in a folder of its name."""
    folder, store = tmp_path_factory.mktemp("export"), make_store()
    for family in FAMILIES:
        make_dataset(folder / family, store, [two_hops(store), one_hop(store)], environment_of(make_tiny(family)))
    return folder


def codec_of(family: str, template: str) -> QwenVLCodec:
    """A tiny codec whose tokenizer has the chat template of the real checkpoints in what matters here."""
    codec = make_tiny(family).codec
    codec.tokenizer.chat_template = template
    return QwenVLCodec(codec.tokenizer, codec.image_processor)


def our_template(family: str) -> str:
    return (SYSTEM if family == "qwen2_5_vl" else "") + CHAT_TEMPLATE  # Qwen2.5-VL has a default system message


def assert_same(episodes: Sequence[Episode], rows: Sequence[dict[str, list[int]]], newline: int) -> None:
    """Ids are ours. Labels are our mask, and the newline of the template behind each turn, which other trainers also
    train on.
    """
    for episode, row in zip(episodes, rows, strict=True):
        assert episode.tokens is not None
        assert row["input_ids"] == [*episode.tokens.ids, newline]
        ours = [0] * len(episode.tokens.prompt_ids) + episode.tokens.loss_mask
        ends = {end for _, end in episode.tokens.sampled_runs()}
        wanted = [i for i in range(len(ours) + 1) if (i < len(ours) and ours[i]) or i in ends]
        assert [i for i, label in enumerate(row["labels"]) if label != -100] == wanted
        assert all(row["labels"][i] == row["input_ids"][i] for i in wanted)
        assert all(row["input_ids"][i] == newline for i in ends)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_have_a_placeholder_for_each_image_in_order(family: str, datasets: Path, tmp_path: Path) -> None:
    stored = read_trajectories(datasets / family)
    for target in ("llamafactory", "trl"):
        assert export(datasets / family, tmp_path / target, target).episodes == 2
    lines = (tmp_path / "llamafactory" / "vrag.jsonl").read_text().splitlines()
    for row, trajectory in zip(map(json.loads, lines), stored, strict=True):
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert [m["content"] for m in row["messages"][2::2]] == ["<image>"] * len(trajectory.images)
        assert row["images"] == trajectory.images
    lines = (tmp_path / "trl" / "metadata.jsonl").read_text().splitlines()
    for row, trajectory in zip(map(json.loads, lines), stored, strict=True):
        assert [m["content"] for m in row["messages"][2::2]] == [[{"type": "image"}]] * len(trajectory.images)
        assert row["images_file_names"] == trajectory.images
    for target in ("llamafactory", "trl"):
        for name in {name for trajectory in stored for name in trajectory.images}:
            assert (tmp_path / target / name).read_bytes() == (datasets / family / name).read_bytes()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers 5.24, about settings that trl names
@pytest.mark.parametrize("family", FAMILIES)
def test_trl_makes_our_batch(
    family: str, datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: Callable[..., Any]
) -> None:
    trl = pytest.importorskip("trl", reason="pip install trl")
    from datasets import load_dataset
    from trl import chat_template_utils

    export(datasets / family, tmp_path / "out", "trl")
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert set(rows.column_names) == {"messages", "images"}
    codec = codec_of(family, getattr(chat_template_utils, f"{family}_chat_template"))
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "run"), use_cpu=True, bf16=False, report_to=[], dataloader_pin_memory=False,
        per_device_train_batch_size=1, assistant_only_loss=True, max_length=None,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        model=make_tiny(family).model, args=settings, train_dataset=rows, processing_class=processor(family, codec)
    )
    batches = [trainer.data_collator([row]) for row in rows]
    episodes, _ = load_episodes(datasets / family, codec)
    made = [{key: batch[key][0].tolist() for key in ("input_ids", "labels")} for batch in batches]
    assert_same(episodes, made, codec.encode_text("\n")[0])
    for episode, batch in zip(episodes, batches, strict=True):
        assert episode.tokens is not None
        assert batch["image_grid_thw"].tolist() == [list(image.grid) for image in episode.tokens.images]
        pixels = np.concatenate([image.pixels for image in episode.tokens.images])
        assert np.allclose(batch["pixel_values"].numpy(), pixels, atol=1e-6)


@pytest.fixture
def processor() -> Callable[[str, QwenVLCodec], Any]:
    """The family's processor without its video side, which needs torchvision."""
    from transformers import ProcessorMixin, Qwen2_5_VLProcessor, Qwen3VLProcessor

    def make(family: str, codec: QwenVLCodec) -> Any:
        tokenizer = codec.tokenizer
        base = Qwen2_5_VLProcessor if family == "qwen2_5_vl" else Qwen3VLProcessor

        def start(self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            for name in ("image", "video"):
                setattr(self, f"{name}_token", f"<|{name}_pad|>")
                setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>"))
            for name in ("vision_start", "vision_end"):
                setattr(self, f"{name}_token", f"<|{name}|>")
                setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}|>"))
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

        kind = type(base.__name__, (base,), {"__init__": start})
        return kind(codec.image_processor, tokenizer, chat_template=tokenizer.chat_template)

    return make


@pytest.mark.full
def test_llamafactory_makes_our_rows(datasets: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("llamafactory") is None or importlib.util.find_spec("omegaconf") is None:
        pytest.skip("pip install --no-deps llamafactory omegaconf; its pins of transformers and trl exclude ours")
    script = Path(__file__).with_name("llamafactory_rows.py")
    for family in FAMILIES:
        export(datasets / family, tmp_path / family, "llamafactory")
    run = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    made = json.loads((tmp_path / "rows.json").read_text())
    for family in FAMILIES:
        codec = codec_of(family, our_template(family))
        episodes, _ = load_episodes(datasets / family, codec)
        assert_same(episodes, made[family], codec.encode_text("\n")[0])


@pytest.mark.parametrize(
    ("target", "text", "kept"),
    [
        ("llamafactory", "what does <image> mean?", 1),
        ("trl", "what does <image> mean?", 2),
        ("llamafactory", "what is <|im_end|>?", 1),
        ("trl", "what is <|image_pad|>?", 1),
    ],
)
def test_text_that_a_trainer_would_misread_is_left_out(target: Any, text: str, kept: int, tmp_path: Path) -> None:
    store = make_store()
    odd = one_hop(store).model_copy(update={"id": "odd", "question": text})
    make_dataset(tmp_path / "set", store, [odd, one_hop(store)], environment_of(make_tiny("qwen3_vl")))
    report = export(tmp_path / "set", tmp_path / "out", target)
    assert report.episodes == kept and len(report.left_out) == 2 - kept
    assert all(line.startswith("odd: ") for line in report.left_out)


def test_an_export_is_whole_or_absent(datasets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json"):
        export(tmp_path / "nothing", tmp_path / "out", "trl")
    assert not (tmp_path / "out").exists()
    export(datasets / "qwen3_vl", tmp_path / "out", "trl")
    with pytest.raises(UsageError, match="name another"):
        export(datasets / "qwen3_vl", tmp_path / "out", "trl")
