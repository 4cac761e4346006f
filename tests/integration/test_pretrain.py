"""Dense targets teach a tower from nothing, and leave nothing behind in the model."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny, seek, spec_of
from vrag.data.lessons import PageLessons
from vrag.data.patches import PatchReader
from vrag.data.sights import PageSights, labels_of
from vrag.errors import ConfigError
from vrag.policies.expert import ExpertStyle
from vrag.policies.load import load_model
from vrag.runs import read_lines
from vrag.testing import MemoryStore
from vrag.training.checkpoint import newest
from vrag.training.optimizer import OptimizerConfig
from vrag.training.pretrain import Curriculum, PretrainConfig, pretrain
from vrag.training.run import CheckpointConfig
from vrag.views import ViewRenderer

CONFIG = PretrainConfig(
    steps=60,
    labels=6,
    values=4,
    pages=1,
    crops=1,
    recoloured=0.0,
    tinted=0.0,
    precision="fp32",
    threshold=0.7,
    rise=0.2,
    optimizer=OptimizerConfig(method="adamw", lr=3e-3, warmup=0.05),
    checkpoints=CheckpointConfig(every=60),
)


def material(tiny: Tiny) -> tuple[PageSights, PageLessons]:
    store = MemoryStore()
    page = store.add("acme.pdf", 1, ["Acme Corp", "Staff 310", "Costs 48"], font_size=90)
    tasks = [seek(store, page, "Staff", "310"), seek(store, page, "Costs", "48")]
    spec = spec_of(tiny)
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle(box_min=60, box_snap=10))
    renderer = ViewRenderer(store)
    lessons = PageLessons([page], tasks, tiny.codec, reader, spec, renderer)
    return PageSights(store, [page], tasks, reader, spec), lessons


def test_a_tower_learns_what_its_patches_show(tmp_path: Path) -> None:
    tiny = make_tiny("qwen3_vl")
    pretrain(tiny.model, tiny.codec, *material(tiny), 2, CONFIG, tmp_path)
    rows = read_lines(tmp_path / "metrics.jsonl")
    first, last = rows[0], rows[-5:]
    assert first["words"] < 0.6 and np.mean([row["words"] for row in last]) > 0.9
    assert rows[0]["level"] == 0.0 and rows[-1]["level"] > 0.0, "what is read well is followed by pages"
    assert "names" not in first and "digits" in rows[-1], "a window of one word has no value to name"
    assert "told" not in first and rows[-1]["told"] < 0.8 * next(row["told"] for row in rows if "told" in row)
    saved = newest(tmp_path / "checkpoints")
    assert saved is not None
    names = {name for name, _ in load_model(saved).named_parameters()}
    assert names == {name for name, _ in make_tiny("qwen3_vl").model.named_parameters()}


def test_the_level_rises_once_labels_are_read() -> None:
    curriculum = Curriculum(PretrainConfig(threshold=0.5, rise=0.4, momentum=0.0))
    for right, level in ((0.4, 0.0), (0.6, 0.4), (0.4, 0.8), (0.4, 1.0), (0.9, 1.0)):
        curriculum.update(right)
        assert curriculum.level == level, "labels of pages are harder, and no reason to wait"


def test_a_family_whose_tower_has_no_places_is_refused(tmp_path: Path) -> None:
    tiny = make_tiny("qwen2_5_vl")
    with pytest.raises(ConfigError, match="qwen3_vl"):
        pretrain(tiny.model, tiny.codec, *material(make_tiny("qwen3_vl")), 2, CONFIG, tmp_path)
