"""`transformers serve`, the server of another project, in a process of its own.

    python -m tests.third_party CHECKPOINT PORT

Its processors of Qwen's models hold one for videos, which needs torchvision. Where that isn't installed, nothing stands
in its place: no video is sent.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


class _NoVideos(dict[str, Any]):
    """In place of a video processor; a dict, since processors print themselves as JSON."""

    merge_size = temporal_patch_size = 2
    model_input_names: tuple[str, ...] = ()


def _without_videos() -> None:
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor
    from transformers.processing_utils import ProcessorMixin

    checked: Any = ProcessorMixin.check_argument_for_proper_class

    def check(self: Any, name: str, value: Any) -> Any:
        return None if isinstance(value, _NoVideos) else checked(self, name, value)

    AutoVideoProcessor.from_pretrained = classmethod(lambda cls, *_, **__: _NoVideos())  # type: ignore[assignment]
    ProcessorMixin.check_argument_for_proper_class = check  # type: ignore[method-assign]


def main() -> None:
    checkpoint, port = sys.argv[1:]
    if importlib.util.find_spec("torchvision") is None:
        _without_videos()
    from transformers.cli.transformers import main as transformers

    options = ["--host", "127.0.0.1", "--port", port, "--device", "cpu", "--dtype", "float32"]
    sys.argv = ["transformers", "serve", *options, checkpoint]
    transformers()


if __name__ == "__main__":
    main()
