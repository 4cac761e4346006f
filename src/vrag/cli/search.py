"""`vrag search`: pages of a corpus by their words."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrag.cli.index import printable
from vrag.corpus.store import Corpus
from vrag.index.lexical import snippet


def search(
    query: Annotated[str, typer.Argument(help="Words to look for, in any script.")],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Pages to show.")] = 10,
    json_: Annotated[bool, typer.Option("--json", help="Print the hits as JSON.")] = False,
) -> None:
    """Find pages of a corpus by their words, best first (BM25)."""
    with Corpus.open(corpus) as store:
        hits = store.search(query, k)
        snippets = [snippet(store.page(hit.page_id).text, query) for hit in hits]
    if json_:
        found = [{**hit.model_dump(), "snippet": text} for hit, text in zip(hits, snippets, strict=True)]
        print(json.dumps({"query": query, "hits": found}, ensure_ascii=False))
        return
    if not hits:
        Console(stderr=True).print("no page holds any of these words", markup=False)
        return
    table = Table("#", "document", "page", "score", "text", box=None)
    for rank, (hit, text) in enumerate(zip(hits, snippets, strict=True), 1):
        name = escape(printable(hit.ref.document))
        table.add_row(str(rank), name, str(hit.ref.page), f"{hit.score:.2f}", escape(printable(text)))
    Console().print(table)
