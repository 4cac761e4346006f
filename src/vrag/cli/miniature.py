"""`vrag eval miniature`: the paper's comparison and ablations, small enough for two CPU cores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vrag.cli.live import LiveLine
from vrag.config import resolve
from vrag.errors import UsageError


def miniature(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the study makes.")] = Path(
        "runs/miniature"
    ),
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One setting: key=value; repeat for more.")
    ] = None,
) -> None:
    """The paper's tables in miniature: a small model against its baselines, without crop, without retrieval reward.

    Trains each arm with three seeds, some hours on one core; a killed study continues. The last line is the report.
    """
    try:
        from vrag.app.miniature import MiniatureConfig, run_miniature
        from vrag.evaluation.comparison_table import comparison_tables
        from vrag.training.precision import flushed_denormals
    except ModuleNotFoundError as missing:
        raise UsageError(f"the miniature needs {missing.name}: pip install 'vrag[models,synthetic]'") from missing
    config = resolve(MiniatureConfig, None, override or [])
    with LiveLine() as line, flushed_denormals():
        comparison = run_miniature(config, out, line.step, line.say)
    for table in comparison_tables(comparison):
        Console(width=160, markup=False, emoji=False).print(table)
    print((out / "report.html").resolve())
