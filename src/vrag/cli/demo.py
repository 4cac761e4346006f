"""`vrag demo`: documents, training and a report, in minutes and without a GPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vrag.cli.live import LiveLine
from vrag.config import changes, resolve
from vrag.errors import UsageError


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path("vrag-demo"),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One setting: key=value; repeat for more.")
    ] = None,
) -> None:
    """Render documents, index them, measure the small model, train it by GRPO, measure again, write a report.

    With --set model=extractive there is no model: its agent answers, and nothing is trained. A killed demo continues
    where it stopped. The last line is the report's path.
    """
    run = _without_model if changes(override or []).get("model") == "extractive" else _with_model
    print(run(override or [], out).resolve())


def _without_model(overrides: list[str], out: Path) -> Path:
    try:
        from vrag.app.extractive_demo import ExtractiveDemoConfig, run_extractive_demo
    except ModuleNotFoundError as missing:
        raise UsageError(f"this demo needs {missing.name}: pip install 'vrag[synthetic]'") from missing
    config = resolve(ExtractiveDemoConfig, None, overrides)
    with LiveLine() as line:
        return run_extractive_demo(config, out, line.say)


def _with_model(overrides: list[str], out: Path) -> Path:
    try:
        from transformers.utils import logging

        from vrag.app.demo import DemoConfig, run_demo
        from vrag.training.precision import flushed_denormals
    except ModuleNotFoundError as missing:
        raise UsageError(f"the demo needs {missing.name}: pip install 'vrag[models,synthetic]'") from missing
    logging.disable_progress_bar()  # of loading and saving weights: half a second each
    config = resolve(DemoConfig, None, overrides)
    with LiveLine() as line, flushed_denormals():
        return run_demo(config, out, line.say, partial(line.step, "rl"))
