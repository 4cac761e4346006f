"""`vrag train tiny` whole, on a model and a world that are as small as they can be."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import material, prepare, run_pretraining
from vrag.cli import main
from vrag.config import resolve
from vrag.encoders.load import load_encoder
from vrag.policies.load import checkpoint_path, load_codec, load_model
from vrag.policies.speaker import environment_of
from vrag.runs import read_lines
from vrag.types import PageVectors

RECIPE = """
documents = 6
worlds = 2
questions = 12
heldout_documents = 4
dpi = 72
copies = 1
no_crop = true
[shape]
vocabulary = 400
hidden = 64
layers = 2
heads = 2
kv_heads = 1
intermediate = 96
vision_hidden = 32
vision_layers = 2
vision_heads = 2
vision_intermediate = 64
min_pixels = 3600
max_pixels = 84800
[pretrain]
steps = 2
labels = 4
values = 2
pages = 1
crops = 1
rise = 1.0
threshold = -1.0
[ground]
steps = 2
pages = 1
queries = 2
crops = 1
[sft]
epochs = 0.2
batch = 2
[rl]
steps = 1
groups = 1
group_size = 2
limits_tokens = 500
limits_turn_tokens = 8
[align]
steps = 2
pages = 1
[encoder]
steps = 2
batch = 4
together = 2
device = "cpu"
"""


def train(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE)
    assert main(["train", "tiny", "--recipe", str(folder / "recipe.toml"), "--out", str(folder / "run")]) == 0


def test_every_stage_runs_once_and_ends_in_cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path)
    cards = [Path(line) for line in capsys.readouterr().out.splitlines() if line.endswith("README.md")]
    assert [card.relative_to(tmp_path / "run").parts[0] for card in cards] == ["sft", "rl-0"]
    text = cards[1].read_text()
    for run in ("extractive", "untrained", "sft", "sft+rl, seed 0", "no crop, sft+rl"):
        assert f"\n| {run} |" in text
    checkpoint = cards[1].parent
    model, codec = load_model(checkpoint), load_codec(checkpoint)
    assert environment_of(checkpoint, model, codec).view.factor == codec.patch_size * codec.merge_size
    saved = load_file(checkpoint / "model.safetensors").values()
    assert {weight.dtype for weight in saved} == {torch.bfloat16}, "as it ships; the next stage starts from that"

    steps = read_lines(tmp_path / "run" / "pretrain" / "metrics.jsonl")
    weights = (checkpoint / "model.safetensors").stat().st_mtime_ns
    train(tmp_path)
    assert read_lines(tmp_path / "run" / "pretrain" / "metrics.jsonl") == steps
    assert (checkpoint / "model.safetensors").stat().st_mtime_ns == weights


def test_training_goes_on_from_the_weights_and_tokenizer_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    still = ["pretrain.optimizer.lr=0", "pretrain.steps=1", "start=tiny-sft"]
    recipe = resolve(TinyRecipe, tmp_path / "recipe.toml", still)
    split = prepare(recipe, "train", tmp_path)
    final = run_pretraining(recipe, split, material(recipe, split, tmp_path), tmp_path, lambda stage, metrics: None)
    start = checkpoint_path("tiny-sft")
    before, after = (load_file(path / "model.safetensors") for path in (start, final))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_codec(final).tokenizer.get_vocab() == load_codec(start).tokenizer.get_vocab()
    fresh = load_codec(tmp_path / "fresh")
    assert fresh.tokenizer.get_vocab() != load_codec(start).tokenizer.get_vocab(), "the untrained baseline is its own"


def test_the_small_encoder_shares_the_run_and_ends_in_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    command = ["train", "tiny-encoder", "--recipe", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    card = Path(capsys.readouterr().out.splitlines()[-1])
    for search in ("text", "untrained, seed 0", "aligned, seed 0", "trained, seed 0"):
        assert f"\n| {search} |" in card.read_text()
    encoder = load_encoder(str(card.parent), device="cpu")
    page = encoder.encode_pages([Image.new("RGB", (800, 600), "white")])[0]
    assert isinstance(page, PageVectors) and page.grid is not None
    assert len(page.vectors) > page.grid.rows * page.grid.columns and encoder.dim == 128
    found = (tmp_path / "run" / "encoder-eval" / "trained-0" / "found.jsonl").read_bytes()
    weights = card.with_name("model.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert card.with_name("model.safetensors").stat().st_mtime_ns == weights
    assert (tmp_path / "run" / "encoder-eval" / "trained-0" / "found.jsonl").read_bytes() == found
