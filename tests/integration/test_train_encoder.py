"""Training an encoder: each class learns, a killed run continues exactly, and what is saved is loaded again."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.checkpoints import DIM, make_clip, make_colmodernvbert, make_colqwen2
from tests.papers import write_pdf
from vrag.cli import main
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.data.pairs import Pair, pairs_of, with_negatives
from vrag.data.tasks import write_tasks
from vrag.encoders.load import load_encoder
from vrag.errors import ConfigError, DataError, UsageError
from vrag.protocols import PageEncoder
from vrag.retriever import open_retriever
from vrag.training.contrast import mean_maxsim
from vrag.training.encoder import EncoderTrainingConfig, LoraConfig, _drawn, train_encoder
from vrag.training.optimizer import OptimizerConfig
from vrag.training.run import CheckpointConfig
from vrag.types import Evidence, PageRef, PageVectors, Task

# peft 0.21 asks transformers 5.24 for what has another name there
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NAMES = ["red", "green", "blue", "black"]
PAIRS = [Pair(f"what is {name}?", (name,)) for name in NAMES]
CONFIG = EncoderTrainingConfig(
    steps=40,
    batch=4,
    chunk=3,
    temperature=0.05,
    precision="fp32",
    device="cpu",
    optimizer=OptimizerConfig(lr=1e-3, warmup=0.1),
    checkpoints=CheckpointConfig(every=20, keep=1),
)
MAKERS: dict[str, Callable[[Path], Path]] = {
    "colqwen2": make_colqwen2,
    "colmodernvbert": make_colmodernvbert,
    "clip": make_clip,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: make(folder / name) for name, make in MAKERS.items()}


def page(name: str) -> Image.Image:
    pixels = np.random.default_rng(NAMES.index(name)).integers(0, 256, (56, 84, 3), np.uint8)
    return Image.fromarray(pixels)


def right(encoder: PageEncoder) -> int:
    """How many queries score their own page highest."""
    made = encoder.encode_pages([page(name) for name in NAMES])
    pages = [torch.from_numpy(one.vectors) for one in made if isinstance(one, PageVectors)]
    queries = [torch.from_numpy(one) for one in encoder.encode_queries([pair.query for pair in PAIRS])]
    return int((mean_maxsim(queries, pages).argmax(1) == torch.arange(len(PAIRS))).sum())


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "lr", "steps"), [("colqwen2", 1e-3, 30), ("colmodernvbert", 3e-3, 80), ("clip", 1e-3, 30)]
)
def test_each_kind_of_encoder_learns_its_pages(
    name: str, lr: float, steps: int, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"steps": steps, "optimizer": OptimizerConfig(lr=lr)})
    final = train_encoder(str(checkpoints[name]), PAIRS, page, config, tmp_path / "run")
    before, after = load_encoder(str(checkpoints[name]), device="cpu"), load_encoder(str(final), device="cpu")
    assert after.fingerprint != before.fingerprint and after.dim == before.dim
    assert right(after) == len(PAIRS) > right(before)
    assert losses(tmp_path / "run")[-1] < 0.5 * losses(tmp_path / "run")[0]


def test_adapters_learn_too_and_are_merged(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = CONFIG.model_copy(update={"lora": LoraConfig(rank=8), "optimizer": OptimizerConfig(lr=3e-3)})
    final = train_encoder(str(checkpoints["colqwen2"]), PAIRS, page, config, tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < 0.5 * losses(tmp_path / "run")[0]
    assert not list(final.glob("adapter*")), "whole weights"
    assert right(load_encoder(str(final), device="cpu")) > right(
        load_encoder(str(checkpoints["colqwen2"]), device="cpu")
    )


def test_only_the_adapters_are_trained(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from safetensors.torch import load_file

    targets = ("q_proj",)
    config = CONFIG.model_copy(update={"steps": 2, "lora": LoraConfig(rank=2, targets=targets)})
    final = train_encoder(str(checkpoints["colqwen2"]), PAIRS, page, config, tmp_path / "run")
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoints["colqwen2"], final))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all("q_proj" in name for name in changed)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_a_killed_run_goes_on_to_the_same_weights(
    lora: LoraConfig | None, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    if lora:
        pytest.importorskip("peft")
    config = CONFIG.model_copy(
        update={"steps": 6, "lora": lora, "checkpoints": CheckpointConfig(every=2, keep=1), "precision": "bf16"}
    )
    start = str(checkpoints["colqwen2"])
    whole = train_encoder(start, PAIRS, page, config, tmp_path / "whole")

    class Killed(Exception): ...

    def stop(metrics: dict[str, Any]) -> None:
        if metrics["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        train_encoder(start, PAIRS, page, config, tmp_path / "cut", stop)
    cut = train_encoder(start, PAIRS, page, config, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_prefix_of_the_vectors_can_be_trained(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"dim": 8, "max_pixels": 28 * 28 * 8})
    final = train_encoder(str(checkpoints["colqwen2"]), PAIRS, page, config, tmp_path / "run")
    assert right(load_encoder(str(final), device="cpu", dim=8)) == len(PAIRS)


def test_what_cannot_be_trained_is_said(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    start = str(checkpoints["colqwen2"])
    with pytest.raises(DataError, match="same page"):
        train_encoder(start, [Pair("a", ("red",)), Pair("b", ("red",))], page, CONFIG, tmp_path / "a")
    pytest.importorskip("peft")
    wrong = CONFIG.model_copy(update={"lora": LoraConfig(targets=("nothing",))})
    with pytest.raises(ConfigError, match=r"lora.targets.*nothing"):
        train_encoder(start, PAIRS, page, wrong, tmp_path / "b")


def test_without_peft_the_extra_is_named(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    config = CONFIG.model_copy(update={"lora": LoraConfig()})
    with pytest.raises(UsageError, match=r"vrag\[lora\]"):
        train_encoder(str(checkpoints["colqwen2"]), PAIRS, page, config, tmp_path)


def test_a_run_of_another_model_or_of_other_pairs_is_not_continued(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"steps": 1})
    train_encoder(str(checkpoints["clip"]), PAIRS, page, config, tmp_path / "run")
    with pytest.raises(UsageError, match="checkpoint"):
        train_encoder(str(checkpoints["colqwen2"]), PAIRS, page, config, tmp_path / "run")
    with pytest.raises(UsageError, match="pairs"):
        train_encoder(str(checkpoints["clip"]), PAIRS[1:], page, config, tmp_path / "run")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("corpus")
    for name in NAMES:
        write_pdf(folder / f"{name}.pdf", [f"the colour {name}", f"more about the colour {name}"])
    with Corpus.create(folder / "made", dpi=60) as made:
        ingest([folder], made, IngestOptions(ocr="off"))
        yield made


def evidence(name: str, number: int = 1) -> Evidence:
    return Evidence(ref=PageRef(document=f"{name}.pdf", page=number))


TASKS = [
    Task(id="plain", question="which colour is red?", gold=[evidence("red")]),
    Task(id="agent", question="which is green?", gold=[evidence("green")], meta={"queries": ["colour green"]}),
    Task(
        id="hops",
        question="which is like the one that is like blue?",
        gold=[evidence("blue"), evidence("black")],
        hops=2,
        meta={"queries": ["colour blue", "colour black"]},
    ),
    Task(id="either", question="what is red or blue?", gold=[evidence("red"), evidence("blue"), evidence("red")]),
]


def test_pairs_are_questions_and_what_an_agent_searches_for(corpus: Corpus) -> None:
    pairs, left_out = pairs_of([*TASKS, *TASKS[:1]], corpus)
    page = {name: corpus.resolve(PageRef(document=f"{name}.pdf", page=1)) for name in NAMES}
    assert pairs == [
        Pair("which colour is red?", (page["red"],), document="red.pdf"),
        Pair("colour green", (page["green"],), document="green.pdf"),
        Pair("which is green?", (page["green"],), document="green.pdf"),
        Pair("colour blue", (page["blue"],), document="blue.pdf"),
        Pair("colour black", (page["black"],), document="black.pdf"),
        Pair("what is red or blue?", (page["red"], page["blue"]), document="red.pdf"),
    ]
    assert left_out == []


def test_a_task_without_its_page_is_named_and_left_out(corpus: Corpus) -> None:
    stray = Task(id="stray", question="?", gold=[evidence("white")])
    bare = Task(id="bare", question="?")
    pairs, left_out = pairs_of([stray, TASKS[0], bare], corpus)
    assert len(pairs) == 1
    assert [line.split(":")[0] for line in left_out] == ["stray", "bare"] and "white.pdf" in left_out[0]
    with pytest.raises(DataError, match=r"no task has gold pages.*white\.pdf"):
        pairs_of([stray], corpus)


def test_hard_negatives_are_what_search_finds_beside_the_gold_pages(corpus: Corpus) -> None:
    pairs, _ = pairs_of(TASKS[:1], corpus)
    made = asyncio.run(with_negatives(pairs, open_retriever(corpus, "text"), 3))
    assert len(made[0].negatives) == 3 and not set(made[0].negatives) & set(made[0].gold)
    second = corpus.resolve(PageRef(document="red.pdf", page=2))
    assert made[0].negatives[0] == second, "the page that says most of the query"


def test_the_command_trains_an_encoder_that_index_takes(
    corpus: Corpus, checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tasks(tmp_path / "tasks.jsonl", [*TASKS, Task(id="stray", question="?", gold=[evidence("white")])])
    settings = ["steps=2", "batch=3", "negatives=1", "device=cpu", "lora.rank=2", "max_pixels=50000", "chunk=2"]
    command = ["train", "encoder", "--corpus", corpus.folder, "--tasks", tmp_path / "tasks.jsonl"]
    command += ["--model", checkpoints["colqwen2"], "--out", tmp_path / "run"]
    assert main([*map(str, command), *(part for one in settings for part in ("--set", one))]) == 0
    said = capsys.readouterr()
    assert Path(said.out.strip()) == tmp_path / "run" / "final"
    assert "left out: stray" in said.err and "encoder 2/2" in said.err
    assert load_encoder(said.out.strip(), device="cpu").dim == DIM
    card = (tmp_path / "run" / "final" / "README.md").read_text()
    assert "library_name: sentence-transformers\npipeline_tag: visual-document-retrieval" in card
    assert "A `colqwen2` model" in card and "contrastive learning" in card and "encodes page images" in card
    assert shlex.join(["vrag", *map(str, command[:6])]) in card and "--set lora.rank=2" in card
    assert "6 queries: tasks.jsonl, SHA-256" in card and "`vrag eval retrieval`" in card and "| `first` |" in card


def test_queries_come_together_from_their_documents() -> None:
    pairs = [Pair(f"{name} {i}", (f"{name}-{i}",), document=name) for name in "abcdef" for i in range(6)]
    config = CONFIG.model_copy(update={"batch": 8, "together": 3})
    for seed in range(20):
        drawn = _drawn(pairs, config, np.random.default_rng(seed))
        counts = Counter(pair.document for pair in drawn)
        assert sorted(counts.values()) == [2, 3, 3] and len({pair.query for pair in drawn}) == 8
    scattered = _drawn(pairs, CONFIG.model_copy(update={"batch": 36}), np.random.default_rng(0))
    assert sorted(pair.query for pair in scattered) == sorted(pair.query for pair in pairs)


def test_chunks_change_nothing(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """The gradient of a batch in parts, and of the whole at once."""
    whole = CONFIG.model_copy(update={"steps": 4, "chunk": 8, "negatives": 1})
    pairs = [Pair(pair.query, pair.gold, (NAMES[place - 1],)) for place, pair in enumerate(PAIRS)]
    for name, config in (("whole", whole), ("parts", whole.model_copy(update={"chunk": 1}))):
        train_encoder(str(checkpoints["colqwen2"]), pairs, page, config, tmp_path / name)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


def test_hard_negatives_join_when_they_are_to(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    pairs = [Pair(pair.query, pair.gold, (f"hard {pair.gold[0]}",)) for pair in PAIRS]
    steps: list[set[str]] = [set()]

    def image(name: str) -> Image.Image:
        steps[-1].add(name)
        return page(name.removeprefix("hard "))

    config = CONFIG.model_copy(update={"steps": 4, "batch": 2, "negatives": 1, "negatives_after": 0.5})
    train_encoder(str(checkpoints["clip"]), pairs, image, config, tmp_path / "run", lambda _: steps.append(set()))
    hard = [sum(name.startswith("hard") for name in shown) for shown in steps[:4]]
    assert hard == [0, 0, 2, 2] and all(len(shown) - count == 2 for shown, count in zip(steps, hard, strict=False))
