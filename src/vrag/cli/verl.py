"""`vrag train verl`: reinforcement learning on many GPUs, by verl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verl(
    recipe: Annotated[str, typer.Argument(help="A recipe of vrag's, such as qwen2_5_vl_7b, or a YAML file.")],
    corpus: Annotated[str, typer.Option("--corpus", help="The corpus that the tasks are about.")],
    tasks: Annotated[Path, typer.Option("--tasks", help="A JSONL file of tasks with gold answers and pages.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of checkpoints; a rerun continues from the newest.")],
    model: Annotated[
        str | None, typer.Option("--model", help="A checkpoint's folder or owner/name, if not the recipe's.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Tasks that are scored each `trainer.test_freq` steps.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines of the Ray cluster, each with 8 GPUs.")] = 1,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One setting of verl or vrag: key=value; repeat for more.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the whole configuration and stop.")] = False,
) -> None:
    """Train by GRPO on 8 GPUs or several machines with verl, which has an environment of its own (docs/verl.md)."""
    from vrag.verl.launch import checked, compose, train

    overrides = options(corpus, tasks, out, model, validation, nodes)
    config = compose(recipe, [*overrides, *(override or [])])
    if show:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return
    train(checked(config))


def options(corpus: str, tasks: Path, out: Path, model: str | None, validation: Path | None, nodes: int) -> list[str]:
    """The options as Hydra's overrides. Paths are made absolute: verl's processes run elsewhere."""
    from vrag.corpus.paths import corpus_folder

    values: dict[str, str | Path | None] = {
        "vrag.corpus": corpus_folder(corpus).resolve(),
        "data.train_files": tasks.resolve(),
        "data.val_files": validation and validation.resolve(),
        "trainer.default_local_dir": out.resolve(),
        "actor_rollout_ref.model.path": _local(model),
    }
    several = ["nodes=several", f"trainer.nnodes={nodes}"] if nodes > 1 else []
    return [*several, *(f"{key}={_quoted(str(value))}" for key, value in values.items() if value is not None)]


def _local(model: str | None) -> str | None:
    if model is None or not Path(model).exists():
        return model
    return str(Path(model).resolve())


def _quoted(text: str) -> str:
    """As one string in Hydra's grammar, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
