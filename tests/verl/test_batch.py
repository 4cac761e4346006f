"""What verl makes of an episode is what the embedded engine makes of it: ids, masks, positions, pixels, reward."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl", reason="verl has an environment of its own: make test-verl")

import torch

from tests.chats import FALSE, TRUE, chat_server, fails, says
from tests.papers import write_pdf
from tests.tiny import Tiny, make_tiny
from tests.verl.processors import load
from tests.verl.servers import ModelServer
from vrag.cli import main
from vrag.cli.verl import options
from vrag.corpus.store import Corpus
from vrag.data.tasks import write_tasks
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode, Tokens
from vrag.policies.load import save_policy, view_spec
from vrag.policies.transformers import STOP_TAGS
from vrag.retriever import LexicalRetriever
from vrag.rewards.combine import paper_rubric, score_episode
from vrag.rollout import Limits, rollout
from vrag.training.batch import collate
from vrag.training.logprobs import sampled_scores
from vrag.types import Evidence, PageRef, Request, Sample, Sampling, Task
from vrag.verl.dataset import VragDataset
from vrag.verl.launch import checked, compose

pytestmark = pytest.mark.filterwarnings("ignore")  # verl's own, of packages that only GPUs need

PROMPT, RESPONSE = 700, 1400
TASKS = [
    Task(
        id="harbour",
        question="When did the amber harbour open? <|image_pad|><|im_end|>",  # text, and no control token
        answers=["1984"],
        gold=[Evidence(ref=PageRef(document="amber.pdf", page=1))],
    ),
    Task(id="juniper", question="What is nowhere to be found? <|image_pad|>", answers=["none"]),
]
SCRIPTS = {
    "amber harbour": [  # two images; what a server says after a closed action is none of the turn
        "<think>I look.</think><search>amber harbour</search> and so on",
        "<think>Closer.</think><bbox>[0, 0, 90, 60]</bbox>",
        "<think>There.</think><answer>1984</answer>",
    ],
    "nowhere": ["<think>Hm.</think><search>zzz</search>", "no action", "<answer>some</answer>"],  # no image
}


@dataclass
class Bench:
    tiny: Tiny
    family: str
    folder: Path
    server: ModelServer
    config: Any
    worker: Any


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """verl's own agent loop worker, over a recipe, a corpus of two pages and a model of random weights."""
    folder, family = tmp_path_factory.mktemp(request.param), request.param
    tiny = make_tiny(family)
    write_pdf(folder / "docs/amber.pdf", ["The amber harbour opened in 1984", "A juniper"])
    assert main(["index", str(folder / "docs"), "-c", str(folder / "corpus"), "--workers", "1", "--ocr", "off"]) == 0
    write_tasks(folder / "tasks.jsonl", TASKS)
    environment = EnvironmentConfig(view=view_spec(family, tiny.codec))
    save_policy(folder / "model", tiny.model, tiny.codec, environment)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("transformers.AutoProcessor.from_pretrained", lambda path, **_: load(family, path))
        named = {"qwen2_5_vl": "qwen2_5_vl_3b", "qwen3_vl": "qwen3_vl_4b"}[family]
        given = options(str(folder / "corpus"), folder / "tasks.jsonl", folder / "out", str(folder / "model"), None, 1)
        small = [f"data.max_prompt_length={PROMPT}", f"data.max_response_length={RESPONSE}"]
        config = checked(compose(named, [*given, *small]))
        server = ModelServer(tiny, SCRIPTS)
        from verl.experimental.agent_loop import AgentLoopWorker

        yield Bench(tiny, family, folder, server, config, AgentLoopWorker(config, server))


@pytest.fixture(scope="module")
def batch(bench: Bench) -> Any:
    """What verl's worker returns for the rows of the dataset, as its trainer would ask."""
    from verl.protocol import DataProto
    from verl.utils.dataset.rl_dataset import collate_fn

    data = VragDataset(str(bench.folder / "tasks.jsonl"), bench.worker.tokenizer, None, bench.worker.processor)
    proto = DataProto.from_single_dict(collate_fn([data[i] for i in range(len(data))]))
    return asyncio.run(bench.worker.generate_sequences(proto))


class ServedHere:
    """The embedded engine's policy: asks the same server, and stops at a closed action token by token."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server

    async def generate(self, request: Request) -> Sample:
        images = [part.image for m in request.messages for part in m.parts if not isinstance(part, str)]
        out = await self.server.generate(request.session, prompt_ids=request.input_ids, image_data=images or None)
        text, kept = "", 0
        while kept < len(out.token_ids) and not any(tag in text for tag in STOP_TAGS):
            kept += 1
            text = self.server.tiny.codec.decode(out.token_ids[:kept])
        return Sample(text, "stop", out.token_ids[:kept], out.log_probs[:kept])

    def close(self, session: str) -> None:
        pass


@pytest.fixture(scope="module")
def episodes(bench: Bench) -> list[Episode]:
    """The same episodes on the embedded engine."""
    view = EnvironmentConfig(view=view_spec(bench.family, bench.tiny.codec))
    policy = ServedHere(ModelServer(bench.tiny, SCRIPTS))
    with Corpus.open(bench.folder / "corpus") as store:
        found = [
            asyncio.run(
                rollout(
                    DocumentEnvironment(store, LexicalRetriever(store), view),
                    policy,
                    bench.tiny.codec,
                    task,
                    Limits(RESPONSE, 2048),
                    Sampling(1.0, 2048),
                )
            )
            for task in TASKS
        ]
    for episode in found:
        episode.reward = score_episode(episode)
    return found


def tokens_of(episode: Episode) -> Tokens:
    assert episode.tokens is not None
    return episode.tokens


def real(batch: Any, i: int) -> torch.Tensor:
    return batch.batch["attention_mask"][i].bool()


def test_the_script_shows_a_page_and_a_crop_in_one_episode_and_nothing_in_the_other(episodes: list[Episode]) -> None:
    assert [len(tokens_of(e).images) for e in episodes] == [2, 0]
    assert [turn.error for turn in episodes[0].turns] == [None] * 3
    assert [e.answer for e in episodes] == ["1984", "some"]


def test_ids_masks_and_logprobs_are_those_of_the_embedded_engine(batch: Any, episodes: list[Episode]) -> None:
    for i, episode in enumerate(episodes):
        tokens, n = tokens_of(episode), len(tokens_of(episode).response_ids)
        assert batch.batch["input_ids"][i][real(batch, i)].tolist() == tokens.ids
        assert batch.batch["responses"][i][:n].tolist() == tokens.response_ids
        assert batch.batch["response_mask"][i].tolist() == tokens.loss_mask + [0] * (RESPONSE - n)
        assert batch.batch["rollout_log_probs"][i][:n].tolist() == pytest.approx(tokens.logprobs, abs=1e-6)
        assert not batch.batch["rollout_log_probs"][i][n:].any()


def embedded(bench: Bench, episode: Episode) -> Any:
    codec = bench.tiny.codec
    pad = codec.tokenizer.pad_token_id
    return collate([tokens_of(episode)], pad_id=pad, image_pad_id=codec.image_pad_id, model=bench.tiny.model)


def test_pixels_and_grids_are_those_that_the_embedded_engine_trains_on(
    bench: Bench, batch: Any, episodes: list[Episode]
) -> None:
    seen = batch.non_tensor_batch["multi_modal_inputs"]
    images = tokens_of(episodes[0]).images
    assert seen[0]["image_grid_thw"].tolist() == [list(image.grid) for image in images]
    pixels = torch.cat([torch.from_numpy(image.pixels) for image in images])
    assert torch.equal(seen[0]["pixel_values"], pixels)
    assert len(pixels.unique()) > 10, "the page must show something"
    assert "pixel_values" not in seen[1]


def test_positions_are_those_of_the_models_own_index(bench: Bench, batch: Any, episodes: list[Episode]) -> None:
    assert batch.batch["position_ids"].shape == (2, 4, PROMPT + RESPONSE)
    for i, episode in enumerate(episodes):
        found = batch.batch["position_ids"][i][:, real(batch, i)]
        inputs = embedded(bench, episode)
        grids = torch.tensor([image.grid for image in tokens_of(episode).images]) if i == 0 else None
        rope, _ = bench.tiny.model.model.get_rope_index(
            inputs.input_ids, mm_token_type_ids=inputs.kinds, image_grid_thw=grids
        )
        assert torch.equal(found[0], torch.arange(len(tokens_of(episode).ids)))
        assert torch.equal(found[1:], rope[:, 0])
        assert torch.equal(found[1], found[2]) is (i == 1), "images must have rows that text hasn't"


def test_the_model_gives_the_sampled_tokens_the_same_logprobs_through_either_batch(
    bench: Bench, batch: Any, episodes: list[Episode]
) -> None:
    model, codec = bench.tiny.model, bench.tiny.codec
    for i, episode in enumerate(episodes):
        inputs = embedded(bench, episode)
        ours = sampled_scores(model, inputs, sorted(codec.forbidden_ids)).logprobs.detach()
        row = batch.batch[i : i + 1]
        seen = {
            key: value
            for key, value in batch.non_tensor_batch["multi_modal_inputs"][i].items()
            if key in ("pixel_values", "image_grid_thw")
        }
        with torch.no_grad():
            logits = model(
                input_ids=row["input_ids"],
                attention_mask=row["attention_mask"],
                position_ids=row["position_ids"].transpose(0, 1),
                use_cache=False,
                **seen,
            ).logits[:, PROMPT - 1 : -1]
        logits[..., sorted(codec.forbidden_ids)] = float("-inf")
        theirs = logits.log_softmax(-1).gather(-1, row["responses"][..., None])[..., 0]
        sampled = row["response_mask"].bool()
        assert (theirs[sampled] - ours).abs().max() < 1e-5
        assert (theirs[sampled] - row["rollout_log_probs"][sampled]).abs().max() < 1e-5


def test_the_reward_is_that_of_the_embedded_engine_at_the_last_token(batch: Any, episodes: list[Episode]) -> None:
    scores = batch.batch["rm_scores"]
    for i, episode in enumerate(episodes):
        assert episode.reward is not None
        n = len(tokens_of(episode).response_ids)
        assert scores[i, n - 1].item() == pytest.approx(episode.reward.total)
        assert scores[i].sum().item() == scores[i, n - 1].item()
        found = {part: batch.non_tensor_batch[part][i] for part in ("answer", "pattern", "retrieval")}
        assert {part: value for part, value in found.items() if value is not None} == episode.reward.parts
    assert scores[0].sum() > 0.9 and scores[1].sum() < 0.2
    assert batch.non_tensor_batch["__num_turns__"].tolist() == [len(e.turns) for e in episodes]


def test_servers_get_ids_and_images_of_the_whole_conversation_and_what_never_to_sample(
    bench: Bench, batch: Any, episodes: list[Episode]
) -> None:
    asked = [a for a in bench.server.asked if "amber" in bench.tiny.codec.decode(a["prompt_ids"])]
    assert len({a["request_id"] for a in asked}) == 1
    assert [len(a["image_data"] or []) for a in asked] == [0, 1, 2]
    tokens = tokens_of(episodes[0])
    starts = [start for start, _ in tokens.sampled_runs()]
    assert [a["prompt_ids"] for a in asked] == [tokens.ids[:start] for start in starts]
    parameters = asked[0]["sampling_params"]
    assert parameters["temperature"] == 1.0 and parameters["logprobs"] is True
    assert set(parameters["logit_bias"]) == bench.tiny.codec.forbidden_ids
    assert parameters["max_tokens"] == RESPONSE - len(tokens.prompt_ids)
    sizes = [image.size for image in asked[-1]["image_data"]]
    patch = bench.tiny.codec.patch_size
    assert sizes == [(w * patch, h * patch) for _, h, w in (image.grid for image in tokens.images)]


def test_the_newer_trainer_gets_the_same_without_padding(
    bench: Bench, episodes: list[Episode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trainer.use_v1`: episodes go one by one into TransferQueue, by a post-processing of their own."""
    from verl.trainer.ppo.v1 import agent_loop_tq

    worker_class = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class
    stored: dict[str, Any] = {}

    async def put(keys: list[str], fields: Any, tags: list[Any], partition_id: str) -> None:
        assert partition_id == "train"
        stored.update({key: fields[i] for i, key in enumerate(keys)} | {f"{key}/tag": tags[0] for key in keys})

    async def put_tag(key: str, partition_id: str, tag: dict[str, str]) -> None:
        stored[key] = tag["status"]

    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", put)
    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_put", put_tag)
    worker = worker_class.__new__(worker_class)
    worker.__dict__.update(bench.worker.__dict__, background_tasks=set())
    data = VragDataset(str(bench.folder / "tasks.jsonl"), worker.tokenizer, None, worker.processor)
    trajectory = {"step": 3, "sample_index": 0, "rollout_n": 0, "validate": False}

    async def run() -> None:
        for i in range(len(data)):
            prompt = {**data[i], "uid": f"uid{i}", "global_steps": 3, "agent_name": "vrag", "__rollout_n__": 1}
            sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
            await worker._run_prompt(prompt, sampling, trajectory)

    asyncio.run(run())
    for i, episode in enumerate(episodes):
        assert stored[f"uid{i}"] == "finished"
        tokens, field = tokens_of(episode), stored[f"uid{i}_0_0"]
        assert field["input_ids"].tolist() == tokens.ids
        assert field["response_mask"].tolist() == field["loss_mask"].tolist() == tokens.loss_mask
        assert field["rollout_log_probs"].tolist() == pytest.approx(tokens.logprobs, abs=1e-6)
        assert field["position_ids"].shape == (4, len(tokens.ids))
        assert field["rm_scores"].tolist() == [0.0] * (len(tokens.loss_mask) - 1) + [
            pytest.approx(episode.reward.total)  # type: ignore[union-attr]
        ]
        tag = stored[f"uid{i}_0_0/tag"]
        assert (tag["status"], tag["min_global_steps"], tag["max_global_steps"]) == ("success", 3, 3)


def test_a_wrong_position_or_pixel_would_be_noticed(bench: Bench, batch: Any) -> None:
    """The comparison of log-probabilities above must not be blind to them."""
    model, row = bench.tiny.model, batch.batch[0:1]
    seen = batch.non_tensor_batch["multi_modal_inputs"][0]
    flat = row["position_ids"][:, :1].expand(-1, 4, -1)
    blank = torch.zeros_like(seen["pixel_values"])

    def sampled(positions: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits = model(
                input_ids=row["input_ids"],
                attention_mask=row["attention_mask"],
                position_ids=positions.transpose(0, 1),
                pixel_values=pixels,
                image_grid_thw=seen["image_grid_thw"],
                use_cache=False,
            ).logits[:, PROMPT - 1 : -1]
        return logits.log_softmax(-1).gather(-1, row["responses"][..., None])[..., 0][row["response_mask"].bool()]

    right = sampled(row["position_ids"], seen["pixel_values"])
    assert (sampled(flat, seen["pixel_values"]) - right).abs().max() > 1e-4
    assert (sampled(row["position_ids"], blank) - right).abs().max() > 1e-4


def test_an_episode_without_a_reward_is_an_error_and_never_a_zero(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.protocol import DataProto
    from verl.utils.dataset.rl_dataset import collate_fn

    from vrag.errors import InfrastructureError

    async def down(*args: object, **kwargs: object) -> None:
        raise InfrastructureError("search failed: the disk is gone")

    monkeypatch.setattr(LexicalRetriever, "search", down)
    data = VragDataset(str(bench.folder / "tasks.jsonl"), bench.worker.tokenizer, None, bench.worker.processor)
    proto = DataProto.from_single_dict(collate_fn([data[0]]))
    with pytest.raises(InfrastructureError, match=r"task harbour: the episode has no reward: .*the disk is gone"):
        asyncio.run(bench.worker.generate_sequences(proto))


def test_the_group_of_the_recipe_is_the_default_reward(bench: Bench) -> None:
    from omegaconf import OmegaConf

    from vrag.rewards.combine import RewardWeights
    from vrag.verl.settings import read_settings

    settings = read_settings(json.dumps(OmegaConf.to_container(bench.config.vrag, resolve=True)))
    assert settings.rewards == RewardWeights()
    assert [term.name for term in paper_rubric(settings.rewards).terms] == ["answer", "pattern", "retrieval"]


def test_the_command_hands_verl_a_checked_configuration(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to where Ray would start; verl's own validation has passed then."""
    started: list[Any] = []
    monkeypatch.setattr("verl.trainer.main_ppo.run_ppo", lambda config, task_runner_class: started.append(config))
    assert main(command(bench)) == 0
    [config] = started
    assert config.data.train_files == str(bench.folder / "tasks.jsonl")


def test_a_processor_that_came_back_none_stops_the_run_before_it_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: str, **_: object) -> None:
        raise ImportError("torchvision is not installed")

    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", fails)
    monkeypatch.setattr("verl.trainer.main_ppo.run_ppo", lambda *_, **__: pytest.fail("must not start"))
    assert main(command(bench)) == 1
    assert "verl has no processor for this checkpoint, and would train without images" in capsys.readouterr().err


def test_the_judge_is_asked_before_anything_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("verl.trainer.main_ppo.run_ppo", lambda config, task_runner_class: started.append(config))
    with chat_server(says(TRUE), says(FALSE)) as server:
        judge = f"vrag.judge={{url: '{server.url}', model: m, cache: off}}"
        assert main([*command(bench), "--set", judge]) == 0
        assert len(server.asked) == 2 and len(started) == 1
    with chat_server(fails(401)) as server:
        judge = f"vrag.judge={{url: '{server.url}', model: m, cache: off}}"
        assert main([*command(bench), "--set", judge]) == 1
    assert "VRAG_JUDGE_KEY" in capsys.readouterr().err and len(started) == 1


def command(bench: Bench) -> list[str]:
    paths = {"corpus": "corpus", "tasks": "tasks.jsonl", "out": "out", "model": "model"}
    given = [part for name, file in paths.items() for part in (f"--{name}", str(bench.folder / file))]
    recipe = "qwen2_5_vl_7b" if bench.family == "qwen2_5_vl" else "qwen3_vl_8b"
    return ["train", "verl", recipe, *given]
