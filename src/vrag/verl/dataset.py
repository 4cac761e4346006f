"""Task files as verl's dataset: what `data.custom_cls` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vrag.data.tasks import read_tasks
from vrag.errors import DataError
from vrag.types import Task
from vrag.verl.checks import check_processor


class VragDataset(Dataset[dict[str, Any]]):
    """The tasks of one or several JSONL files, in order; the first `max_samples` of them, all where that is negative.

    verl makes one before anything runs on a GPU, in the process whose errors stop the run: a checkpoint whose processor
    is missing ends here. The arguments are verl's; `config` is its `data` group and isn't used.
    """

    def __init__(
        self,
        data_files: str | Sequence[str],
        tokenizer: Any,
        config: Mapping[str, Any] | None = None,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        """Raises `CheckpointError` for a processor that verl couldn't build, and `DataError` naming file and line."""
        check_processor(processor, str(getattr(tokenizer, "name_or_path", "the checkpoint")))
        files = [data_files] if isinstance(data_files, str) else list(data_files)
        tasks = _unique([(file, task) for file in files for task in read_tasks(Path(file).expanduser())])
        self.tasks = tasks if max_samples < 0 else tasks[:max_samples]
        if not self.tasks:
            raise DataError(f"{', '.join(files) or 'no file'}: no tasks to train on")

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return row(self.tasks[index], index)


def row(task: Task, index: int) -> dict[str, Any]:
    """What verl asks of a row, and the whole task for the agent loop. `raw_prompt` is for verl's logs: the prompt that
    the policy sees is the environment's.
    """
    return {
        "raw_prompt": [{"role": "user", "content": task.question}],
        "task": task.model_dump_json(),
        "data_source": task.source,
        "reward_model": {"style": "vrag", "ground_truth": list(task.answers)},
        "extra_info": {"index": index, "id": task.id},
        "index": index,
        "dummy_tensor": torch.tensor([0], dtype=torch.uint8),  # verl's older trainer takes no batch without tensors
    }


def _unique(read: Sequence[tuple[str, Task]]) -> list[Task]:
    seen: dict[str, str] = {}
    for file, task in read:
        if task.id in seen:
            raise DataError(f"{file}: id {task.id!r} is also in {seen[task.id]}; ids must be unique")
        seen[task.id] = file
    return [task for _, task in read]
