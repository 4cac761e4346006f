"""benchmarks/retrieval_tradeoffs: its oracle is exact, and its script runs from nothing to a table."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vectors import DIM, a_page, a_query, oracle
from vrag.index.vectors import Filter, VectorIndex

FOLDER = Path(__file__).parents[2] / "benchmarks/retrieval_tradeoffs"


@pytest.fixture
def floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorIndex:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("floats")
    monkeypatch.setattr(module, "CHUNK", 100)  # fewer vectors than the pages have together
    return module.FloatIndex(tmp_path / "fp32", DIM, "a test")


def test_the_oracle_is_exact_maxsim(floats: VectorIndex):
    pages = [a_page(number) for number in range(20)]
    pages.append(a_page(20, vectors=250))  # more than a chunk
    floats.upsert(pages)
    for seed in range(5):
        query = a_query(seed, pages[seed])
        exact = oracle(pages, query)
        found = {one.page_id: one.score for one in floats.search(query, 7)}
        assert list(found) == sorted(exact, key=lambda id: -exact[id])[:7]
        assert found == pytest.approx({id: exact[id] for id in found}, rel=1e-5)


def test_it_keeps_pages_and_forgets_those_that_leave(floats: VectorIndex):
    floats.upsert([a_page(1), a_page(2)])
    assert floats.search(a_query(0), 5) and floats.ids() == {"page-1", "page-2"}
    assert floats.delete(Filter(pages=["page-1"])) == 1
    assert [one.page_id for one in floats.search(a_query(0), 5)] == ["page-2"]


@pytest.mark.full
def test_the_script_goes_from_nothing_to_a_table_and_goes_on(tmp_path: Path):
    command = [sys.executable, str(FOLDER / "run.py"), "--smoke", "--documents", "6", "--out", str(tmp_path / "run")]
    run = [*command, "--candidates", "12", "--limit", "10"]
    first, again = (subprocess.run(run, capture_output=True, text=True, check=True) for _ in range(2))
    assert "encoded" in first.stderr and "encoded" not in again.stderr
    assert again.stdout == first.stdout
    rows = {line.split(" | ")[0][2:]: line.split(" | ") for line in first.stdout.splitlines() if line.startswith("| ")}
    assert rows["fp32, exact"][5] == "1.000" and float(rows["int8, exact"][5]) > 0.95
    assert {"int8, pool 16 → 12", "int8, one mean vector", "text", "text + int8, exact (1:2)"} <= rows.keys()
    wrong = subprocess.run([sys.executable, str(FOLDER / "run.py"), "--out", str(tmp_path)], capture_output=True)
    assert wrong.returncode == 2
