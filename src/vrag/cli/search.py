"""`vrag search`: pages of a corpus by their words and by what they look like."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrag.cli.asked import Asked, hint_spelling, open_to_read
from vrag.cli.options import By, Device, Encoder, EncoderSet, Kernel, KernelOption, Way, encoder_name
from vrag.cli.progress import printable
from vrag.corpus.store import Corpus
from vrag.errors import CorpusError
from vrag.index.lexical import snippet
from vrag.kernels import KernelChoice
from vrag.retriever import open_retriever
from vrag.types import Hit


def search(
    words: Annotated[list[str], typer.Argument(metavar="QUERY", help="Words to look for, in any script.")],
    corpus: Asked = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Pages to show.")] = 10,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Find pages of a corpus, best first: by BM25 over their words, by their images, or by both."""
    query = " ".join(words)
    if not query.strip():
        raise typer.BadParameter("the query is empty", param_hint="QUERY")
    chosen = encoder_name(encoder, encoder_set)
    with open_to_read(corpus) as store:
        retriever = open_retriever(store, by.value, chosen, KernelChoice(kernel.value, device))
        texts = [(hit, _text(store, hit.page_id)) for hit in asyncio.run(retriever.search(query, k))]
        hits = [hit for hit, text in texts if text is not None]
        snippets = [snippet(text, query) for _, text in texts if text is not None]
        hint_spelling(store, query)
    if json_:
        found = [{**hit.model_dump(), "snippet": text} for hit, text in zip(hits, snippets, strict=True)]
        print(json.dumps({"query": query, "hits": found}, ensure_ascii=False))
        return
    if not hits:
        Console(stderr=True).print("no page holds any of these words", markup=False)
        return
    fused = any(hit.ranks for hit in hits)
    table = Table("#", "document", "page", "score", *(["found by"] if fused else []), "text", box=None)
    for rank, (hit, text) in enumerate(zip(hits, snippets, strict=True), 1):
        name, ranks = escape(printable(hit.ref.document)), [_ranks(hit)] if fused else []
        score = f"{hit.score:.4f}" if fused else f"{hit.score:.2f}"
        table.add_row(str(rank), name, str(hit.ref.page), score, *ranks, escape(printable(text)))
    Console().print(table)


def _text(store: Corpus, page_id: str) -> str | None:
    """None for a page that has just left the corpus."""
    try:
        return store.page(page_id).text
    except CorpusError:
        if store.refs([page_id]):
            raise
        return None


def _ranks(hit: Hit) -> str:
    return ", ".join(f"{name} {rank}" for name, rank in hit.ranks.items())
