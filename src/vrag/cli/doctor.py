"""`vrag doctor`: what is installed, which servers answer, and what each recipe needs and finds here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vrag.cli.options import Judge, JudgeModel, PolicyModel, PolicyRecipeName, PolicySet, served_settings

if TYPE_CHECKING:
    from vrag.app.doctor.endpoints import Ask
    from vrag.policies.served import ServedSettings

_WIDTH = 150  # of tables where there is no terminal to fit


def doctor(
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="The policy to look at: extractive, a checkpoint, or a URL.")
    ] = None,
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    encoder: Annotated[
        str | None, typer.Option(help="The encoder of pages: tiny, a folder, a Hub name, or the URL of a server.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="URL of a search server.")] = None,
    qdrant: Annotated[str | None, typer.Option(help="URL of a Qdrant server.")] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", "-c", help="Name of a corpus, or a path.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe that is to run here.")] = None,
    pages: Annotated[
        int | None, typer.Option(min=1, help="How many pages the figures are for (the corpus's, else 10,000).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look at this machine. Exit code 1 when something that an option asks for is missing or doesn't answer."""
    from vrag.app.doctor.report import Asked, examine
    from vrag.app.doctor.table import tables

    served = served_settings(policy or "extractive", policy_model, policy_set, policy_recipe)
    asked = Asked(
        policy=policy,
        served=served,
        encoder=encoder,
        corpus=corpus,
        recipe=recipe,
        pages=pages,
        endpoints=_asks(served, judge, judge_model, encoder, search, qdrant),
    )
    report = examine(asked)
    if as_json:
        print(report.model_dump_json())
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=_WIDTH)
        for table in tables(report):
            console.print(table)
            console.print()
    for reason in report.wanting:
        Console(stderr=True).print(f"missing: {reason}", markup=False, highlight=False, soft_wrap=True)
    if report.wanting:
        raise typer.Exit(1)


def _asks(
    served: ServedSettings | None,
    judge: str | None,
    judge_model: str | None,
    encoder: str | None,
    search: str | None,
    qdrant: str | None,
) -> list[Ask]:
    """One question to each server that is named."""
    from vrag.app.doctor import endpoints

    asks: list[Ask] = []
    if served is not None:
        asks.append(endpoints.chat("policy server", served.url, served.model, served.key_variable))
    if judge is not None:
        asks.append(endpoints.chat("judge", judge, judge_model, "VRAG_JUDGE_KEY"))
    if encoder is not None and "://" in encoder:
        asks.append(endpoints.encoder(encoder))
    if search is not None:
        asks.append(endpoints.search(search))
    if qdrant is not None:
        asks.append(endpoints.qdrant(qdrant))
    return asks
