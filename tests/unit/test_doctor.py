"""What `vrag doctor` measures, computes and asks, on machines that are made up."""

from __future__ import annotations

import json
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

from vrag.app.doctor import endpoints, models
from vrag.app.doctor.figures import MEASURED
from vrag.app.doctor.machine import Gpu, Machine, gpus, memory
from vrag.app.doctor.needs import Need, Setting, most_images, needs
from vrag.app.doctor.packages import extras, missing_of, satisfies
from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError, UsageError
from vrag.evaluation.baselines import baseline_environment

GB = 10**9


def a_machine(**changes: Any) -> Machine:
    values: dict[str, Any] = {"memory": 16 * GB, "memory_free": 8 * GB, "gpus": [], "disk_free": 100 * GB}
    return Machine(system="Linux", python="3.11", cores=2, home="/home", **values | changes)


def recipe(name: str, **changes: Any) -> Need:
    policy = models.Model(name="m", role="policy", disk=GB, parameters=GB, memory=4 * GB, missing=[])
    values: dict[str, Any] = {"machine": a_machine(), "policy": policy, "served": False, "encoder": None, "gpu": False}
    values |= {"environment": EnvironmentConfig(), "pages": 16_000, "stored": 0, "figures": MEASURED}
    return next(need for need in needs(Setting(**values | changes)) if need.recipe == name)


# ---------------------------------------------------------------------------------------- the machine


def test_memory_is_what_the_system_says_and_no_more_than_a_container_may_use(tmp_path: Path) -> None:
    (tmp_path / "info").write_text("MemTotal:       2000 kB\nMemFree: 1 kB\nMemAvailable:   1500 kB\n")
    (tmp_path / "limit").write_text("1024000\n")
    (tmp_path / "none").write_text("max\n")
    assert memory(tmp_path / "info", tmp_path / "limit") == (1024000, 1024000)
    assert memory(tmp_path / "info", tmp_path / "none") == (2048000, 1536000)
    assert memory(tmp_path / "absent", tmp_path / "none")[1] is None


def test_gpus_are_those_that_nvidias_tool_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "NVIDIA A100, SXM, 81920, 1024"\n')
    tool.chmod(0o755)
    assert gpus() == [Gpu(name="NVIDIA A100, SXM", memory=81920 << 20, free=1024 << 20)]
    for broken in ("exit 9", "echo driver mismatch"):
        tool.write_text(f"#!/bin/sh\n{broken}\n")
        assert gpus() == []


# -------------------------------------------------------------------------------------------- packages


def test_an_extra_is_whole_when_all_it_names_is_there_in_a_version_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["rich>=13.7", "numba>=0.60; extra == 'index'", 'vrag[index]; extra == "big"', 'new>=2; extra == "big"']
    have = {"rich": "15.0", "numba": "0.61.2", "new": "1.9"}

    def version(name: str) -> str:
        if name not in have:
            raise metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    monkeypatch.setattr(metadata, "version", version)
    big, index = extras()
    assert (index.name, index.have, index.missing) == ("index", {"numba": "0.61.2"}, [])
    assert (big.have, big.missing) == ({"numba": "0.61.2"}, ["new>=2 (has 1.9)"])
    del have["new"]
    assert missing_of("big") == ["new>=2"]


@pytest.mark.parametrize(
    ("version", "bounds", "does"),
    [
        *[("2.13.0+cpu", ">=2.6", True), ("0.9", ">=0.60", False), ("5.10.0rc1", ">=5.10", True), ("1", "", True)],
        *[
            ("4.1.0", "<4,>=1.99.1", False),
            ("3.57.0", "<4,>=1.99.1", True),
            ("5.0", ">=5.0.0", True),
            ("4", "<4", False),
        ],
    ],
)
def test_versions_compare_by_their_numbers(version: str, bounds: str, does: bool) -> None:
    assert satisfies(version, bounds) is does


# ---------------------------------------------------------------------------------------------- models


def test_parameters_are_counted_by_headers_and_memory_follows_the_device(tmp_path: Path) -> None:
    header = {"__metadata__": {"a": "b"}, "x": {"shape": [3, 5]}, "y": {"shape": [2]}, "scalar": {"shape": []}}
    for name in ("a", "b"):
        raw = json.dumps(header).encode()
        (tmp_path / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(8))
    model = models.policy(str(tmp_path), gpu=False)
    assert (model.parameters, model.memory) == (36, 144)
    assert models.policy(str(tmp_path), gpu=True).memory == 72
    (tmp_path / "adapter_config.json").write_text("{}")
    assert models.policy(str(tmp_path), gpu=True).memory is None


@pytest.mark.parametrize("content", [b"", struct.pack("<Q", 1 << 60), struct.pack("<Q", 9) + b"not json!"])
def test_what_is_no_weights_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        models.count(tmp_path / "model.safetensors")
    assert "model.safetensors" in models.policy(str(tmp_path), gpu=False).missing[-1]


def test_what_isnt_known_here_is_said_to_be_unknown() -> None:
    model = models.policy("owner/model", gpu=False)
    assert (model.parameters, model.memory, model.disk) == (None, None, None) and "on the Hub" in model.note
    assert "no weights" in models.policy("/no/such/folder", gpu=False).missing[-1]


# --------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("name", "images"),
    [("vrag", 4), ("react-text", 0), ("vanilla-rag-visual", 1), ("vanilla-rag-visual-top5", 5)],
)
def test_the_images_of_a_conversation_are_those_that_its_environment_can_show(name: str, images: int) -> None:
    assert most_images(baseline_environment(EnvironmentConfig(), name)) == images


def test_a_recipes_needs_are_computed_from_what_was_measured() -> None:
    need = recipe("vrag")
    assert (need.images, need.image_tokens, need.index, need.page_images) == (4, 4 * 512, 107_000_000, None)
    assert need.reading == (16_000 / 123 / 2, 16_000 / 32 / 2) and need.missing == []
    encoder = models.Model(name="e", role="encoder", disk=GB, parameters=GB, memory=GB, missing=[])
    visual = recipe("vrag", encoder=encoder)
    assert visual.index == 107_000_000 + 16_000 * 100_000
    assert visual.memory == 5 * GB + 16_000 * 5900
    assert recipe("vrag", served=True).memory == 0


def test_what_a_machine_lacks_is_named_with_both_figures() -> None:
    assert (
        "memory: 4.0 GB of weights and index, 1.0 GB free" in recipe("vrag", machine=a_machine(memory_free=GB)).missing
    )
    full = a_machine(disk_free=GB // 20)
    assert recipe("vrag", machine=full).missing == ["disk: 107 MB, 50.0 MB free at /home"]
    assert recipe("vrag", machine=full, stored=16_000).missing == [], "these pages are there already"
    small = a_machine(gpus=[Gpu(name="g", memory=GB, free=GB)])
    assert recipe("vrag", machine=small).missing == [] != recipe("vrag", machine=small, gpu=True).missing
    assert recipe("vrag", machine=a_machine(memory_free=None, disk_free=None)).missing == []
    words = recipe("react-text", policy=models.extractive())
    assert "extractive looks up words of the images" in words.missing[0]


# --------------------------------------------------------------------------------------------- servers


def answers(request: httpx.Request) -> httpx.Response:
    known: dict[str, Any] = {
        "/v1/models": {"data": [{"id": "a"}, {"id": "b\x1b[31m"}]},
        "/health": {"status": "ok", "pages": 7},
        "/v1/encoder": {"name": "colqwen2", "dim": 128},
        "/collections": {"result": {"collections": [{}, {}]}},
        "/odd/health": ["x"],
    }
    if request.headers.get("Authorization") == "Bearer wrong":
        return httpx.Response(401, text="no: wrong")
    path = request.url.path
    return httpx.Response(200, json=known[path]) if path in known else httpx.Response(404)


def ask(*asks: endpoints.Ask) -> list[tuple[bool, str]]:
    return [(one.reached, one.said) for one in endpoints.ask_all(asks, httpx.MockTransport(answers))]


def test_servers_are_asked_what_they_are() -> None:
    url = "http://127.0.0.1:1"
    judge, other, encoder, search, qdrant, odd, wrong = ask(
        endpoints.chat("judge", f"{url}/v1", "a", "VRAG_JUDGE_KEY"),
        endpoints.chat("policy server", f"{url}/v1", "z", "VRAG_POLICY_KEY"),
        endpoints.encoder(url),
        endpoints.search(url),
        endpoints.qdrant(url),
        endpoints.search(f"{url}/odd"),
        endpoints.search(f"{url}/nowhere"),
    )
    assert judge == (True, "a") and other == (True, "doesn't list z, but a, b�[31m")
    assert (encoder, search, qdrant) == (
        (True, "colqwen2, 128 dimensions"),
        (True, "ok, 7 pages"),
        (True, "2 collections"),
    )
    assert odd[0] is wrong[0] is False and "is this its URL?" in odd[1] and "404" in wrong[1]


def test_a_key_is_sent_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRAG_TOKEN", "wrong")
    [(reached, said)] = ask(endpoints.search("http://127.0.0.1:1"))
    assert not reached and "VRAG_TOKEN" in said and "wrong" not in said


def test_nobody_who_listens_is_not_reached_and_what_is_no_url_is_refused() -> None:
    [one] = endpoints.ask_all([endpoints.search("http://127.0.0.1:1")])
    assert not one.reached and "ConnectError" in one.said
    with pytest.raises(UsageError, match="like http"):
        ask(endpoints.search("ftp://x"))
