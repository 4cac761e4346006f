"""`vrag demo`: documents, training and a report, in minutes and without a GPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vrag.cli.live import LiveLine
from vrag.config import resolve
from vrag.errors import UsageError


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path("vrag-demo"),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One setting: key=value; repeat for more.")
    ] = None,
) -> None:
    """Render documents, index them, measure the small model, train it by GRPO, measure again, write a report.

    A killed demo continues where it stopped. The last line is the report's path.
    """
    try:
        from transformers.utils import logging

        from vrag.app.demo import DemoConfig, run_demo
        from vrag.training.precision import flushed_denormals
    except ModuleNotFoundError as missing:
        raise UsageError(f"the demo needs {missing.name}: pip install 'vrag[models,synthetic]'") from missing
    logging.disable_progress_bar()  # of loading and saving weights: half a second each
    config = resolve(DemoConfig, None, override or [])
    with LiveLine() as line, flushed_denormals():
        report = run_demo(config, out, line.say, partial(line.step, "rl"))
    print(report.resolve())
