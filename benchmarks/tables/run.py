"""The extractive policy over tables as office programs lay them out: which cells does it name?

    python benchmarks/tables/run.py FOLDER [--tables 40] [--seed 7]

Makes web pages with one table each, of random size, width, borders, padding and alignment; `vrag index` has LibreOffice
print them. Then every row is asked for once, in the words of its label and of one column's title, of its page alone.
FOLDER is made, or continued.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrag import Corpus
from vrag.evaluation.intervals import wilson
from vrag.policies.reading import Question, read_page
from vrag.types import Box, PageRef

PLACES = ["Nordics", "Iberia", "Benelux", "Balkans", "Alps", "Britain"]
PLACES += ["Ireland", "Baltics", "Poland", "Hungary", "Turkey", "Greece"]
MEASURES = ["Sales staff", "Engineers", "Net revenue", "Gross margin", "Operating costs", "Headcount"]
MEASURES += ["Office rent", "Energy use", "Water use", "Training days", "Customer visits", "Repair orders"]
ABOVE = "The table below shows what was counted, and when. It is checked each year by the auditors of the group."
BELOW = "All figures were rounded; differences may come from that."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    documents, corpus = options.folder / "documents", options.folder / "corpus"
    documents.mkdir(parents=True, exist_ok=True)
    asked = list(_write(documents, options.tables, random.Random(options.seed)))
    subprocess.run([sys.executable, "-m", "vrag", "index", documents, "--corpus", f"{corpus.resolve()}"], check=True)
    with Corpus.open(corpus) as store:
        right = [_is_right(store, *one) for one in asked]
    share = wilson(sum(right), len(right))
    assert share is not None
    print(f"right cells: {sum(right)} of {len(right)} ({share.value:.0%}, 95 % {share.low:.0%} to {share.high:.0%})")


def _write(folder: Path, tables: int, random: random.Random) -> Iterator[tuple[str, str, str]]:
    """Make the pages; (document, question, answer) of each row."""
    for number in range(tables):
        columns, rows = random.randint(2, 6), random.randint(3, 9)
        kind = random.choice(["years", "places", "quarters"])
        titles = {
            "years": [str(2018 + i) for i in range(columns)],
            "places": random.sample(PLACES, columns),
            "quarters": [f"Q{i + 1}" for i in range(min(columns, 4))],
        }[kind]
        labels = random.sample(PLACES if kind == "years" and random.random() < 0.5 else MEASURES, rows)
        unit = random.choice(["", " kg", " %", " km", " EUR"])
        values = [[f"{_number(random):,}{unit}" for _ in titles] for _ in labels]
        name = f"table-{number:03}.html"
        (folder / name).write_text(_page(titles, labels, values, random), encoding="utf-8")
        for label, row in zip(labels, values, strict=True):
            column = random.randrange(len(titles))
            yield name, f"{label} {titles[column]}", row[column]


def _number(random: random.Random) -> float:
    return random.choice([random.randint(10, 99), random.randint(100, 9999), round(random.uniform(1, 99), 1)])


def _page(titles: Sequence[str], labels: Sequence[str], values: Sequence[Sequence[str]], random: random.Random) -> str:
    over, cells = random.choice(["left", "center", "right"]), random.choice(["left", "center", "right"])
    looks = f"border={random.choice([0, 1])} cellpadding={random.choice([0, 2, 4, 8])}"
    corner = f"<th align={random.choice(['left', 'center'])}>{random.choice(['', 'Item', 'Measure'])}</th>"
    head = "".join(f"<th align={over}>{title}</th>" for title in titles)
    body = "".join(
        f"<tr><td>{label}</td>{''.join(f'<td align={cells}>{value}</td>' for value in row)}</tr>"
        for label, row in zip(labels, values, strict=True)
    )
    table = f"<table {looks} width={random.choice([40, 60, 80, 100])}%><tr>{corner}{head}</tr>{body}</table>"
    return f"<html><body><h2>Figures of the company</h2><p>{ABOVE}</p>{table}<p>{BELOW}</p></body></html>"


def _is_right(store: Corpus, document: str, question: str, answer: str) -> bool:
    page = store.page(store.resolve(PageRef(document=document, page=1)))
    whole = Box(x1=0, y1=0, x2=page.width, y2=page.height)
    reading = read_page(store.words(page.id), Question.of(question), whole)
    return reading is not None and reading.answer == answer


if __name__ == "__main__":
    main()
