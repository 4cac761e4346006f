"""A few steps of each stage of training, on a random tiny model."""

from __future__ import annotations

import os
from pathlib import Path

from tests.tiny import NoisyWorld, make_tiny, roll_out, seek, spec_of
from vrag.data.lessons import PageLessons
from vrag.data.patches import PatchReader
from vrag.data.sights import PageSights, labels_of
from vrag.episode import Episode, Reward
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.lora import PolicyLora
from vrag.training.optimizer import OptimizerConfig
from vrag.training.pretrain import PretrainConfig, pretrain
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.training.sft import SFTConfig, sft
from vrag.types import Answer, Task
from vrag.views import ViewRenderer

OPTIMIZER = OptimizerConfig(lr=1e-3, schedule="cosine", warmup=0.2)
SAVE = CheckpointConfig(every=2, keep=2)


def score(episode: Episode) -> Reward:
    """Some function of what was sampled, so that groups have variance."""
    assert episode.tokens is not None
    total = sum(episode.tokens.response_ids) % 7 / 7
    return Reward(total=total, parts={"answer": total})


def pretrain_on_a_page(out: Path) -> None:
    tiny = make_tiny("qwen3_vl")
    store = MemoryStore()
    page = store.add("acme.pdf", 1, ["Acme Corp", "Staff 310", "Costs 48"], font_size=90)
    tasks, spec = [seek(store, page, "Staff", "310")], spec_of(tiny)
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle())
    renderer = ViewRenderer(store)
    sights = PageSights(store, [page], tasks, reader, spec)
    lessons = PageLessons([page], tasks, tiny.codec, reader, spec, renderer)
    config = PretrainConfig(
        steps=6, labels=3, values=2, pages=1, crops=1, precision="fp32", threshold=-1.0, rise=0.3,
        optimizer=OPTIMIZER.model_copy(update={"method": "muon"}), checkpoints=SAVE,
    )  # fmt: skip
    pretrain(tiny.model, tiny.codec, sights, lessons, 1, config, out)


def run(stage: str, out: Path, kill_at: str = "") -> None:
    """`stage`: pretrain, sft, sft-lora or rl; `kill_at` as `VRAG_KILL_AT`."""
    os.environ["VRAG_KILL_AT"] = kill_at
    if stage == "pretrain":
        pretrain_on_a_page(out)
        return
    tiny = make_tiny("qwen2_5_vl")
    if stage == "rl":
        config = RLConfig(
            steps=8, groups=2, group_size=3, updates=2, limits_tokens=400, limits_turn_tokens=10,
            algorithm=AlgorithmConfig(kl=0.05), optimizer=OPTIMIZER, checkpoints=SAVE,
        )  # fmt: skip
        tasks = [Task(id=str(i), question="?") for i in range(5)]
        GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), score, config).train(tasks, out)
        return
    episodes = roll_out(tiny, [str(i) for i in range(10)])
    for episode in episodes:
        episode.turns = [t.model_copy(update={"action": Answer(text="a")}) for t in episode.turns]
    config = SFTConfig(
        epochs=4, batch=4, precision="fp32", freeze_vision=False, optimizer=OPTIMIZER, checkpoints=SAVE,
        lora=PolicyLora(rank=4) if stage == "sft-lora" else None,
    )  # fmt: skip
    sft(tiny.model, tiny.codec, episodes, config, out)
