"""The settings of vrag-tiny's training, all stages together."""

from __future__ import annotations

from pydantic import Field, model_validator

from vrag.environment import EnvironmentConfig
from vrag.geometry import ViewSpec
from vrag.policies.expert import ExpertStyle
from vrag.rewards.combine import RewardWeights
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.align import AlignConfig
from vrag.training.encoder import EncoderTrainingConfig
from vrag.training.ground import GroundConfig
from vrag.training.guidance import GuidanceConfig
from vrag.training.optimizer import OptimizerConfig
from vrag.training.pretrain import PretrainConfig
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.training.sft import SFTConfig
from vrag.training.tiny import TinyShape
from vrag.types import Frozen


def tiny_environment(shape: TinyShape) -> EnvironmentConfig:
    """What vrag-tiny sees: small views, a prompt of the question alone, at most eight turns, and a page that can be
    cropped again when a box missed.
    """
    factor = shape.patch * 2
    view = ViewSpec(
        frame="absolute" if shape.family == "qwen2_5_vl" else "relative1000",
        factor=factor,
        min_pixels=shape.min_pixels,
        max_pixels=shape.max_pixels,
        min_crop=20,
    )
    return EnvironmentConfig(view=view, prompt="brief-v1", max_turns=8, final_turn=False, crops_of="page")


class TinyRecipe(Frozen):
    """Settings of all stages. The expert is imperfect on purpose (see `ExpertStyle`); its lengths are thousandths of a
    page, which is how Qwen3-VL writes them.
    """

    seed: int = 0
    start: str | None = None  # a checkpoint, by name or folder, whose weights and tokenizer training goes on from
    difficulty: int = 1
    documents: int = 1500  # of a world
    worlds: int = Field(default=3, ge=1)  # of documents to learn to see from; trajectories and RL play in the first
    questions: int | None = 30_000  # about the training documents of a world (None: four per document)
    heldout_documents: int = 60
    layout_pages: int = 600  # of each layout, at most, to see: variety for the rare, no bulk of the common
    dpi: int = 200  # of page images: small print must be sharp enough to be read in a crop
    shape: TinyShape = TinyShape()
    pretrain: PretrainConfig = PretrainConfig()
    ground: GroundConfig = GroundConfig()
    expert: ExpertStyle = ExpertStyle(
        box_min=140,  # nearly always one value alone, and still found by a box that is half its size off
        box_margin=0.3,
        box_snap=10,
        full_query=0.8,
        entity_only=0.1,
        metric_only=0.1,
        guess=0.65,  # so that RL has the crop to discover: at 0.5 the greedy agent crops already
    )
    trajectories: int = 4000  # tasks that the expert plays
    expert_samples: int = 1
    copies: int = 32  # text-only copying examples beside each batch of lessons and of SFT
    replays: int = 8  # pages, crops, and half as many bridges and checks beside each batch of SFT
    sft: SFTConfig = SFTConfig(
        epochs=0.8,
        batch=32,
        max_tokens=8192,
        guidance=GuidanceConfig(),
        optimizer=OptimizerConfig(method="muon", lr=3e-3, rest=0.5, schedule="cosine", warmup=0.03),
    )
    rl: RLConfig = RLConfig(
        steps=36,
        groups=8,
        group_size=8,
        algorithm=AlgorithmConfig(kl=0.0),
        temperature=0.6,  # at 1 a box of eight sampled digits is seldom the one that the model means
        freeze_vision=True,
        max_tokens=8192,
        limits_tokens=2048,
        limits_turn_tokens=96,
        optimizer=OptimizerConfig(lr=1e-4, warmup=0.05),
        checkpoints=CheckpointConfig(every=25),
    )
    rl_seeds: tuple[int, ...] = (0,)
    encoder_layers: int = 2  # of the language model
    encoder_dim: int = 128
    encoder_tasks: int = 3000  # whose questions and queries it learns from
    align: AlignConfig = AlignConfig()
    align_pages: int = 50  # of each layout: the tower has seen more of them
    encoder: EncoderTrainingConfig = EncoderTrainingConfig(
        steps=240,
        batch=24,
        together=4,
        negatives=1,
        negatives_after=0.6,
        chunk=64,
        optimizer=OptimizerConfig(method="muon", lr=2e-3, rest=0.5, schedule="cosine", warmup=0.05),
        checkpoints=CheckpointConfig(every=25, keep=1),
    )
    encoder_seeds: tuple[int, ...] = (0,)
    rewards: RewardWeights = RewardWeights()
    no_crop: bool = False  # also train the baseline that can't crop, with the same budget

    @model_validator(mode="after")
    def _hands_on_whole_weights(self) -> TinyRecipe:
        if self.sft.lora is not None and not self.sft.lora.merge:
            raise ValueError("sft.lora.merge must be on: the next stage starts from whole weights")
        return self
