"""`vrag eval retrieval`: searches alone, without a policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from vrag.cli.live import counting
from vrag.cli.options import Encoder, EncoderSet, Scope, ScopeOption, Way, encoder_name
from vrag.cli.questions import BenchmarkName, CorpusName, Limit, Out, TaskFile, asked


def retrieval(
    benchmark: BenchmarkName = None,
    corpus: CorpusName = None,
    tasks: TaskFile = None,
    out: Out = None,
    by: Annotated[
        list[Way] | None,
        typer.Option(help="Which search; repeat to compare several. All that the corpus has, if none."),
    ] = None,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    scope: Scope = None,
    limit: Limit = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run at --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Search with every question and measure how well the gold pages are found: recall, nDCG, MRR."""
    from vrag.corpus.store import Corpus
    from vrag.evaluation.identity import begun_as, identity
    from vrag.evaluation.retrieval import evaluate_retrieval
    from vrag.evaluation.table import retrieval_table
    from vrag.retriever import open_retriever
    from vrag.runs import RunDir

    questions, named = asked(benchmark, corpus, tasks, limit, out, "retrieval"), encoder_name(encoder, encoder_set)
    chosen = questions.tasks
    with Corpus.open(questions.corpus) as store:
        every = ("text", "visual", "fused") if store.has_vectors else ("text",)
        ways: Sequence[str] = list(dict.fromkeys(way.value for way in by)) if by else every
        config: dict[str, Any] = {"corpus": questions.corpus}
        if scoped := scope is ScopeOption.document:
            config["scope"] = "document"
        run = RunDir.open(
            questions.out, identity(config, chosen), overwrite=overwrite, adds_to=begun_as(config, chosen)
        )
        encoders = {way: None if way == "text" and len(ways) > 1 else named for way in ways}  # text asks no encoder
        retrievers = {way: open_retriever(store, Way(way).value, encoders[way]) for way in ways}
        with counting(Console(stderr=True)) as bar:
            row = bar.add_task("searches", total=len(ways) * sum(bool(task.gold) for task in chosen))
            work = evaluate_retrieval(run, chosen, retrievers, on_found=lambda _: bar.advance(row), scoped=scoped)
            summaries = asyncio.run(work)
    if as_json:
        print(json.dumps([summary.model_dump(mode="json") for summary in summaries]))
    else:
        table = retrieval_table(summaries, f"retrieval on {questions.corpus}")
        Console(width=160, markup=False, emoji=False).print(table)
