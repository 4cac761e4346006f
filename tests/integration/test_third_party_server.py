"""The shipped checkpoint behind a server of another project: what it says there is what it says in this process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vrag.cli import main
from vrag.hub import MODELS

CHECKPOINT = MODELS / "vrag-tiny-sft"
RECIPE = """
about = "vrag-tiny as it was trained, on a server that takes no stream_options and no stop beside images"
omit = ["stop", "stream_options"]
[environment]
"""


def serves() -> bool:
    from transformers.utils.import_utils import is_serve_available

    return is_serve_available()


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not serves(), reason="needs pip install 'transformers[serving]'"),
]


def toml(values: dict[str, Any], path: str) -> str:
    plain = {key: value for key, value in values.items() if not isinstance(value, dict) and value is not None}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
    groups = {key: value for key, value in values.items() if isinstance(value, dict)}
    return lines + "".join(f"[{path}.{key}]\n{toml(value, f'{path}.{key}')}" for key, value in groups.items())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "tests.third_party", str(CHECKPOINT), str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    root = Path(__file__).parents[2]
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=root, env=environment, stdout=said, stderr=said) as server,
    ):
        ends = time.monotonic() + 300
        while not is_up(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < ends, log.read_text()[-2000:]
            time.sleep(0.2)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    made = ["data", "synthesize", str(folder), "--split", "heldout", "--documents", "4", "--questions", "4"]
    assert main(made) == 0
    assert (
        main(["index", str(folder / "documents"), "-c", str(folder / "corpus"), "--workers", "1", "--ocr", "off"]) == 0
    )
    return folder


def turns(bench: Path, name: str, *options: str) -> dict[str, list[str]]:
    out = bench / name
    command = ["eval", "-c", str(bench / "corpus"), "--tasks", str(bench / "tasks.jsonl"), "--out", str(out), *options]
    assert main([*command, "--concurrency", "1", "--json"]) == 0
    rows = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows] == [None] * len(rows)
    return {row["task"]["id"]: [turn["text"] for turn in row["turns"]] for row in rows}


def test_episodes_are_those_of_the_checkpoint_in_this_process(
    url: str, bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = bench / "tiny.toml"
    recipe.write_text(RECIPE + toml(json.loads((CHECKPOINT / "environment.json").read_text()), "environment"))
    options = ["--policy", url, "--policy-model", str(CHECKPOINT), "--policy-recipe", str(recipe)]
    served = turns(bench, "served", *options)
    own = turns(bench, "own", "--policy", "tiny-sft")
    assert served == own
    assert sum(len(said) for said in served.values()) > len(served), "it searched before it answered"
    summary = json.loads((bench / "served/summary.json").read_text())
    calls = summary["usage"]["calls"]
    assert calls == sum(map(len, served.values())) and summary["usage"]["completion_tokens"] > 5 * calls
