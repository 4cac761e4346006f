"""`vrag data …`: make data to train and to measure with."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from vrag.cli import benchmarks
from vrag.cli.construct import construct
from vrag.cli.options import By, Encoder, EncoderSet, Way, encoder_name
from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.data.dataset import Manifest
    from vrag.data.vidore.build import BuildReport

data = typer.Typer(no_args_is_help=True, help="Make data to train and to measure with.")
data.command()(construct)


class TargetName(str, Enum):
    LLAMAFACTORY = "llamafactory"
    TRL = "trl"
    UNIFIED = "unified"


class SplitName(str, Enum):
    TRAIN = "train"
    HELDOUT = "heldout"


@data.callback()
def _group() -> None:
    """Make data to train and to measure with."""


@data.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="A new directory for documents/, tasks.jsonl and manifest.json.")],
    split: Annotated[SplitName, typer.Option(help="Which names, themes and layouts to use.")] = SplitName.TRAIN,
    documents: Annotated[int, typer.Option(min=4, help="How many PDFs.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
    difficulty: Annotated[int, typer.Option(min=1, max=3, help="1 is clean, 3 is dense.")] = 1,
    questions: Annotated[int | None, typer.Option(min=1, help="How many; four per document if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write the synthetic benchmark: PDFs, questions, gold answers, pages and boxes."""
    try:
        from vrag.data import synthetic
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("reportlab"):
            raise
        raise UsageError("the synthetic benchmark needs reportlab: pip install 'vrag[synthetic]'") from error

    spec = synthetic.SyntheticSpec(
        split=split.value,
        documents=documents,
        seed=seed,
        difficulty=synthetic.difficulty(difficulty),
        questions=questions,
    )
    print(f"writing {documents} documents to {out}", file=sys.stderr)
    manifest = synthetic.synthesize(out, spec)
    if as_json:
        print(manifest.model_dump_json())
    else:
        hops = ", ".join(f"{count} of {hop} hop{'s' * (hop > 1)}" for hop, count in manifest.hops.items())
        print(f"{manifest.documents} documents, {manifest.pages} pages, {manifest.questions} questions ({hops})")
        print(out / "tasks.jsonl")


@data.command()
def vidore(
    dataset: Annotated[str, typer.Argument(help="A folder in the Hub's layout, or owner/name on the Hub.")],
    out: Annotated[Path, typer.Argument(help="A directory for pages/ and tasks.jsonl; an earlier run is continued.")],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus for its pages, or a path.")],
    split: Annotated[str, typer.Option(help="Which split.")] = "test",
    language: Annotated[
        str | None, typer.Option(help="Only questions in this language, as the dataset calls it.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the Hub.")] = None,
    ocr: Annotated[bool, typer.Option("--ocr/--no-ocr", help="OCR of pages without text, if it is installed.")] = True,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pages; 0: one for each core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete what an earlier run left at OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn a dataset in ViDoRe's formats into a corpus and a task file, for `vrag eval retrieval`."""
    from vrag.cli.index import open_or_create
    from vrag.cli.indexed import show_failures
    from vrag.cli.progress import Reporter
    from vrag.corpus.ingest import IngestOptions
    from vrag.data.parquet import find_dataset
    from vrag.data.vidore.build import build
    from vrag.data.vidore.layouts import load

    benchmark = load(find_dataset(dataset, split, revision), language)
    console = Console(stderr=True)
    options = IngestOptions(workers=workers, ocr="auto" if ocr else "off")
    with open_or_create(corpus, [], None) as store, Reporter(console) as reporter:
        report = build(benchmark, out, store, options, reporter.update, overwrite=overwrite)
    show_failures(console, report.failures)
    print(report.model_dump_json() if as_json else _built(report, corpus))
    if report.pages == 0:
        raise typer.Exit(1)


def _built(report: BuildReport, corpus: str) -> str:
    grades = ", ".join(f"{count} of grade {grade}" for grade, count in report.grades.items())
    return (
        f"{corpus}: {report.pages} pages of {report.rows} rows, {report.pages_with_text} with the dataset's text;"
        f" {report.questions} questions, gold pages: {grades}; {len(report.failures)} failures\n{report.tasks}"
    )


benchmarks.register(data)


@data.command()
def trajectories(
    out: Annotated[Path, typer.Argument(help="A directory for the dataset; an earlier run of the same is continued.")],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    tasks: Annotated[Path, typer.Option(help="JSON Lines of questions with gold answers, pages and boxes.")],
    target: Annotated[
        str,
        typer.Option("--for", help="The model that learns: qwen2_5_vl, qwen3_vl, tiny-sft, or a checkpoint's folder."),
    ],
    samples: Annotated[int, typer.Option(min=1, help="Episodes of each task.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same episodes.")] = 0,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A TOML file on how the expert plays.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", help="One of its settings: key=value.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier dataset at OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Let the scripted expert play tasks, and write its episodes with their images as a dataset for SFT."""
    import asyncio

    from vrag.config import resolve
    from vrag.corpus.store import Corpus
    from vrag.data.dataset import TrajectoryWriter
    from vrag.data.tasks import read_tasks
    from vrag.data.trajectories import write_expert_trajectories
    from vrag.environment import DocumentEnvironment
    from vrag.policies.expert import ExpertStyle
    from vrag.policies.speaker import environment_for
    from vrag.retriever import open_retriever
    from vrag.runs import RunDir, content_key
    from vrag.views import ViewRenderer

    style, environment = resolve(ExpertStyle, recipe, override or []), environment_for(target)
    chosen, named = read_tasks(tasks)[:limit], encoder_name(encoder, encoder_set)
    config = {
        "policy": "expert",
        "style": style.model_dump(mode="json"),
        "environment": environment.model_dump(mode="json"),
        "corpus": corpus,
        "by": by.value,
        "tasks": {"count": len(chosen), "key": content_key(*chosen)},
        "samples": samples,
        "seed": seed,
    }
    with Corpus.open(corpus) as store, Progress(console=Console(stderr=True), transient=True) as progress:
        retriever, renderer = open_retriever(store, by.value, named), ViewRenderer(store)
        run = RunDir.open(out, config, overwrite=overwrite)
        row = progress.add_task("episodes", total=len(chosen) * samples)
        manifest = asyncio.run(
            write_expert_trajectories(
                chosen,
                store,
                lambda: DocumentEnvironment(store, retriever, environment, renderer),
                TrajectoryWriter(run, environment),
                environment.view,
                style,
                seed,
                samples=samples,
                on_episode=lambda: progress.advance(row),
            )
        )
    blind = sum(not any(gold.box for gold in task.gold) for task in chosen)
    if blind and "bbox" in environment.actions:
        print(f"{blind} of {len(chosen)} tasks have no gold box: in these the expert never crops", file=sys.stderr)
    print(manifest.model_dump_json() if as_json else _made(manifest, out))
    if manifest.kept == 0 or manifest.failed:
        raise typer.Exit(1)


def _made(manifest: Manifest, out: Path) -> str:
    dropped = ", ".join(f"{count} {reason}" for reason, count in manifest.dropped.items())
    failed = f"; {manifest.failed} failed, a rerun tries them again" if manifest.failed else ""
    actions = ", ".join(f"{count} {name}" for name, count in manifest.actions.items())
    return (
        f"{manifest.kept} episodes ({actions}), {manifest.images} images;"
        f" dropped: {dropped or 'none'}{failed}\n{out / 'manifest.json'}"
    )


@data.command("export")
def export_dataset(
    dataset: Annotated[Path, typer.Argument(help="A dataset of trajectories; for unified, a task file.")],
    out: Annotated[Path, typer.Argument(help="A new directory; for unified, a file.")],
    to: Annotated[TargetName, typer.Option("--to", help="Who is to read it; unified: the reference's code.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write a dataset of trajectories as LLaMA-Factory or TRL reads it, or tasks as the reference's code does."""
    if to is TargetName.UNIFIED:
        benchmarks.export_unified(dataset, out, as_json)
        return
    from vrag.data.export import export

    report = export(dataset, out, to.value)
    for reason in report.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    text = f"{report.episodes} episodes, {report.images} images, {len(report.left_out)} left out\n{out}"
    print(report.model_dump_json() if as_json else text)
