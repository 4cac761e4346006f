"""The model card of the small encoder, written by the run."""

from __future__ import annotations

from pathlib import Path

from vrag.app.tiny.card import making, share
from vrag.app.tiny.encoder import TrainedEncoder
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import seconds_of
from vrag.evaluation.retrieval import RetrievalSummary
from vrag.runs import atomic_write
from vrag.training.card import front


def write_encoder_card(
    recipe: TinyRecipe, trained: dict[int, TrainedEncoder], results: dict[str, RetrievalSummary], command: str
) -> Path:
    """Write README.md in the Hub's form beside the checkpoint of the first seed."""
    first = trained[recipe.encoder_seeds[0]].final
    run, own = first.parents[1], first.parent
    stages = {"pretrain": run / "pretrain", "align": own / "align", "train": own / "train"}
    text = "\n\n".join(
        [
            front("sentence-transformers", licence="apache-2.0"),
            "# vrag-tiny-encoder",
            _about(recipe),
            "## Held-out results\n\n" + _table(results),
            "## How it was made\n\n"
            + making(recipe, {name: seconds_of(path) for name, path in stages.items()}, command),
        ]
    )
    atomic_write(first / "README.md", text.encode() + b"\n")
    return first / "README.md"


def _about(recipe: TinyRecipe) -> str:
    return (
        f"A `ColQwen2ForRetrieval` of {recipe.encoder_dim} dimensions over the tower of vrag-tiny and"
        f" {recipe.encoder_layers} layers of a language model, trained from nothing by vrag on synthetic pages."
        " It finds pages by the names and labels printed on them, from the image alone. It knows the"
        " layouts and words of vrag's synthetic benchmark and nothing else of the world: a demonstration and a test"
        " subject, no replacement for a published encoder."
    )


def _table(results: dict[str, RetrievalSummary]) -> str:
    rows = ["| search | recall@1 | recall@5 | recall@10 | nDCG@10 |", "|---|---|---|---|---|"]
    for name, one in results.items():
        cells = [*(share(one.recall[depth]) for depth in (1, 5, 10)), share(one.ndcg[10])]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    questions = next(iter(results.values())).questions
    return "\n".join(rows) + (
        f"\n\n{questions} queries: questions of one hop, and what an agent searches for. Documents, names and some"
        " layouts were not in training. `text` reads the pages' text layer, the others see images alone. 95 %"
        " bootstrap intervals over queries."
    )
