"""`python llamafactory_rows.py DIR`: LLaMA-Factory's own loader over the exports in DIR, into DIR/rows.json.

A process of its own: importing LLaMA-Factory changes transformers. It also imports torchaudio, only to read audio; an
empty module takes its place where it isn't installed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DISABLE_VERSION_CHECK"] = "1"  # it pins versions older than ours
if importlib.util.find_spec("torchaudio") is None:
    empty = ModuleType("torchaudio")
    empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = empty

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams.data_args import DataArguments
from transformers import Seq2SeqTrainingArguments

from tests.tiny import make_tiny


def rows(family: str, template: str, folder: Path) -> list[dict[str, Any]]:
    codec = make_tiny(family).codec
    data = DataArguments(template=template, dataset="vrag", dataset_dir=str(folder), cutoff_len=4096)
    processor = SimpleNamespace(image_processor=codec.image_processor, video_processor=codec.image_processor)
    made = get_dataset(
        get_template_and_fix_tokenizer(codec.tokenizer, data),
        SimpleNamespace(cache_dir=str(folder / "cache"), hf_hub_token=None),
        data,
        Seq2SeqTrainingArguments(output_dir=str(folder / "run"), use_cpu=True, report_to=[]),
        "sft",
        codec.tokenizer,
        processor,
    )
    return [{key: row[key] for key in ("input_ids", "labels")} for row in made["train_dataset"]]


def main(folder: Path) -> None:
    templates = {"qwen2_5_vl": "qwen2_vl", "qwen3_vl": "qwen3_vl"}
    made = {family: rows(family, template, folder / family) for family, template in templates.items()}
    (folder / "rows.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
