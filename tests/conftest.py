"""Shared by every suite: `--full` runs what takes long; a VRAG_HOME of its own keeps off the user's data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Models here are tiny: two threads that wait for each other on a busy machine take ten times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# no deadline: the time of a first import or of a busy machine isn't a property of the code
settings.register_profile("vrag", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vrag")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long suites and the full counts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long: run with --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether to run whole counts (True) or the quick tenth of them."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(autouse=True)
def vrag_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of named corpora, empty for each test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("VRAG_HOME", str(home))
    return home
