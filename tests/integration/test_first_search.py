"""Baselines with a model that has a codec: the first search and its pages are prompt, and nothing else changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tiny import make_tiny
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.dataset import TrajectoryWriter
from vrag.data.trajectories import Tokenized
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import UsageError
from vrag.geometry import ViewSpec
from vrag.policies.scripted import ScriptedPolicy
from vrag.policies.transformers import TransformersPolicy
from vrag.protocols import Policy
from vrag.rollout import Limits, rollout
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Sampling, Task

TASK = Task(id="t", question="revenue of Acme")
ANSWER = "<think>read</think><answer>4,812</answer>"


def environment(**settings: object) -> DocumentEnvironment:
    store = MemoryStore()
    store.add("a.pdf", 1, ["Revenue of Acme", "2020  4,812"])
    store.add("b.pdf", 1, ["Costs of Acme", "2020  100"])
    shape = make_tiny("qwen2_5_vl").shape
    spec = ViewSpec(min_pixels=shape.min_pixels, max_pixels=shape.max_pixels)
    config = EnvironmentConfig.model_validate({"view": spec, "prompt": "brief-v1", **settings})
    return DocumentEnvironment(store, WordRetriever(store), config)


def run(world: DocumentEnvironment, policy: Policy, codec: QwenVLCodec) -> Episode:
    sampling = Sampling(temperature=0.0, max_tokens=8)
    return asyncio.run(rollout(world, policy, codec, TASK, Limits(), sampling))


def test_the_pages_of_the_first_search_are_in_the_prompt_and_only_the_answer_is_sampled() -> None:
    codec = make_tiny("qwen2_5_vl").codec
    world = environment(first_search=True, pages=2, actions=("answer",))
    episode = run(world, Tokenized(ScriptedPolicy([ANSWER]), codec), codec)
    tokens = episode.tokens
    assert tokens is not None and episode.answer == "4,812" and len(episode.turns) == 2
    assert len(tokens.images) == 2 and tokens.prompt_ids == codec.prompt(episode.messages[:3]).ids
    assert tokens.response_ids == codec.encode_sampled(ANSWER) and set(tokens.loss_mask) == {1}


def test_a_model_is_run_in_it_and_is_given_what_it_would_be_given_turn_by_turn() -> None:
    tiny = make_tiny("qwen2_5_vl")
    policy = TransformersPolicy(tiny.model, tiny.codec)
    first = run(environment(first_search=True, actions=("answer",)), policy, tiny.codec)
    assert first.tokens is not None and sum(first.tokens.loss_mask) > 0 and len(first.tokens.images) == 1
    script = ScriptedPolicy(["<search>revenue of Acme</search>", ANSWER])
    played = run(environment(), Tokenized(script, tiny.codec), tiny.codec).tokens
    assert played is not None
    assert played.ids[: len(first.tokens.prompt_ids)] == first.tokens.prompt_ids


def test_a_policy_without_ids_is_not_run_as_one_that_can_be_trained() -> None:
    with pytest.raises(UsageError, match="samples no token ids"):
        run(environment(), ScriptedPolicy([ANSWER]), make_tiny("qwen2_5_vl").codec)


def test_what_the_environment_said_is_never_a_trajectory_to_train_on(tmp_path: Path) -> None:
    run_dir = RunDir.open(tmp_path / "data", {"a": 1})
    with pytest.raises(UsageError, match="first_search off"):
        TrajectoryWriter(run_dir, EnvironmentConfig(prompt="rag-v1", actions=("answer",), first_search=True))
