"""The batch of a step, with what is missing counted: what `trainer.v1.sampler.custom_sampler` names.

An episode that raised is missing from verl's batch. verl goes on with the rest, a whole step of failures excepted, and
takes the reward of an episode that is left alone in its group for its advantage.
"""

# verl has an environment of its own, where these types can't be checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from vrag.verl.checks import check_unscored, lone_keys


class CountingReplayBuffer(ReplayBuffer):
    """Stops the run when more than `max_unscored` of a step's episodes are missing, and drops groups of one.

    `sampler_kwargs` holds `max_unscored`, and `n` and `val_n`, the episodes of a training and of a validation task.
    """

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        training = partition_id == "train"
        expected = batch_size * self.sampler_kwargs["n" if training else "val_n"]
        unscored = expected - len(batch.keys)
        check_unscored(unscored, expected, self.sampler_kwargs["max_unscored"], f"step {global_steps}")
        lone = lone_keys(batch.keys) if training else []
        if lone:
            left_out = set(lone)
            batch = batch.select_keys([key for key in batch.keys if key not in left_out])
            tq.kv_clear(keys=lone, partition_id=partition_id)
        counts = {"training/unscored": float(unscored), "training/groups_dropped": float(len(lone))}
        return batch, {**metrics, **counts}
