"""`vrag ask`: one question, answered from a corpus, with each step as it happens, and the evidence as pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vrag.agent import Agent, Reply
from vrag.cli.asked import Asked, hint_spelling, open_to_read
from vrag.cli.options import (
    By,
    Encoder,
    EncoderSet,
    Policy,
    PolicyModel,
    PolicyRecipeName,
    PolicySet,
    Way,
    encoder_name,
    served_settings,
)
from vrag.cli.progress import printable
from vrag.retriever import open_retriever
from vrag.types import Answer, Crop, Custom, Search, Turn


def ask(
    words: Annotated[list[str], typer.Argument(metavar="QUESTION", help="What you want to know.")],
    corpus: Asked = None,
    policy: Policy = "extractive",
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, max=100, help="Steps before it must answer.")
    ] = None,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for page.png (box drawn) and crop.png.", show_default="none are written"
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Ask a corpus. Steps go to stderr as they happen; the answer, with page and box, to stdout."""
    question = " ".join(words)
    if not question.strip():
        raise typer.BadParameter("the question is empty", param_hint="QUESTION")
    served = served_settings(policy, policy_model, policy_set, policy_recipe)
    with open_to_read(corpus) as store:
        retriever = open_retriever(store, by.value, encoder_name(encoder, encoder_set))
        agent = Agent(store, served or policy, retriever)
        if max_turns is not None:
            agent = agent.within(agent.environment.model_copy(update={"max_turns": max_turns}))
        steps = Console(stderr=True, highlight=False, markup=False, emoji=False)
        reply = agent.ask(question, on_turn=lambda turn: _show(steps, turn))
        files = reply.save(out) if out else {}
        if not reply.answered:
            hint_spelling(store, question)
    if json_:
        print(json.dumps(_result(reply, files, agent.speaker.name), ensure_ascii=False))
    else:
        _print(reply, files)
    if not reply.answered:
        raise typer.Exit(1)


def _show(console: Console, turn: Turn) -> None:
    """One step, as it happens."""
    if turn.thought:
        console.print(f"think   {printable(turn.thought)}", soft_wrap=True)
    match turn.action:
        case Search():
            console.print(f"search  {printable(turn.action.query)}", soft_wrap=True)
        case Crop():
            box = ", ".join(f"{edge:g}" for edge in turn.action.box.as_tuple())
            console.print(f"crop    [{box}]", soft_wrap=True)
        case Custom():
            console.print(f"{turn.action.name:<7} {printable(turn.action.content)}", soft_wrap=True)
        case Answer():
            pass  # the result on stdout
        case None:
            console.print(f"invalid {printable(turn.error or '')}", soft_wrap=True)
    seen = turn.observation
    if seen is None:
        return
    if seen.kind == "message":
        console.print(f"        {printable(seen.text)}", soft_wrap=True)
    for ref in seen.pages:
        where = f"{printable(ref.document)}, page {ref.page}"
        if seen.kind == "crop" and seen.view is not None:
            where += f", pixels {_pixels(seen.view.region.as_tuple())}"
        console.print(f"        {where}", soft_wrap=True)


def _print(reply: Reply, files: dict[str, Path]) -> None:
    episode, found = reply.episode, reply.found
    if episode.answer is None:
        print(f"no answer: the episode ended for {episode.stop.value}")
    else:
        print(printable(episode.answer))
    if found is not None:
        ref, box = found.evidence.ref, found.region
        where = f", box {_pixels(box.as_tuple())} of {found.page.width}x{found.page.height} pixels"
        print(f"{printable(ref.document)}, page {ref.page}{where if found.evidence.box else ''}")
    for file in files.values():
        print(printable(str(file)))


def _result(reply: Reply, files: dict[str, Path], policy: str) -> dict[str, Any]:
    episode, found = reply.episode, reply.found
    return {
        "question": episode.task.question,
        "answer": episode.answer,
        "found": reply.answered,
        "stop": episode.stop.value,
        "evidence": found.evidence.model_dump() if found else None,
        "pixels": list(found.region.as_tuple()) if found else None,
        "files": {name: str(file) for name, file in files.items()},
        "policy": policy,
        "seconds": round(episode.seconds, 3),
        "usage": episode.usage.model_dump() if episode.usage else None,
        "turns": [turn.model_dump(mode="json") for turn in episode.turns],
    }


def _pixels(edges: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{edge:.0f}' for edge in edges)}]"
