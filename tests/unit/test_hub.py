"""Checkpoints from the Hub and to it, with the Hub's own client faked where it would talk to the network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import HfHubHTTPError
from safetensors.numpy import save_file

from tests.tiny import make_tiny, spec_of
from vrag.cli import main
from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError, InfrastructureError, UsageError
from vrag.hub import check_whole, push
from vrag.policies.load import checkpoint_path, load_model, save_policy

COMMIT = "c" * 40


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `vrag train` saves one."""
    tiny, folder = make_tiny("qwen3_vl"), tmp_path_factory.mktemp("policy") / "final"
    save_policy(folder, tiny.model, tiny.codec, EnvironmentConfig(view=spec_of(tiny)))
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
    return folder


@pytest.fixture
def copy(policy: Path, tmp_path: Path) -> Path:
    return shutil.copytree(policy, tmp_path / "final")


# --------------------------------------------------------------------------------------- from the Hub


@pytest.fixture
def hub(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Holds one model; gives what it was asked for."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        if name != "owner/model":
            raise FileNotFoundError("outgoing traffic has been disabled")
        folder = tmp_path / "snapshots" / COMMIT
        return str(folder if folder.is_dir() else shutil.copytree(policy, folder))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_policy_is_fetched_by_its_name_on_the_hub_at_one_commit(hub: list[dict[str, Any]]) -> None:
    path = checkpoint_path("owner/model")
    assert path.name == COMMIT and load_model(path).config.model_type == "qwen3_vl"
    assert checkpoint_path("owner/model@v2") == path
    assert [call["revision"] for call in hub] == [None, "v2"]
    assert "*.safetensors" in hub[0]["allow_patterns"]
    assert not any(pattern in ("*", "*.bin", "*.py", "*.pt") for pattern in hub[0]["allow_patterns"])


def test_a_folder_comes_before_the_hub(
    policy: Path, hub: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(policy, tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path("owner/model") == Path("owner/model") and hub == []


def test_what_the_hub_does_not_give_names_what_to_check(hub: list[dict[str, Any]]) -> None:
    with pytest.raises(CheckpointError, match=r"owner/other: .*outgoing traffic.*check name, revision, network"):
        checkpoint_path("owner/other")
    with pytest.raises(UsageError, match=r"no checkpoint at qwen9: .*owner/name"):
        checkpoint_path("qwen9")
    assert len(hub) == 1


def test_a_run_isnt_taken_for_its_checkpoint_but_names_it(tmp_path: Path) -> None:
    (tmp_path / "run/final").mkdir(parents=True)
    (tmp_path / "run/final/config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"run is a run; its checkpoint is .*run/final"):
        checkpoint_path(str(tmp_path / "run"))


def test_fetching_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'vrag\[hub\]'"):
        checkpoint_path("owner/model")


def test_a_policy_whose_weights_are_a_pickle_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: only safetensors are loaded"):
        checkpoint_path(str(copy))


def test_adapters_find_their_base_on_the_hub(
    policy: Path, hub: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vrag.policies import load

    (tmp_path / "adapters").mkdir()
    shutil.copy(policy / "config.json", tmp_path / "adapters")
    (tmp_path / "adapters" / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/model"}')
    monkeypatch.setattr(load, "_merged", lambda model, path: model)
    assert load_model(tmp_path / "adapters").config.model_type == "qwen3_vl"
    assert hub[0]["name"] == "owner/model"


# ----------------------------------------------------------------------------------------- to the Hub


class FakeHub:
    """`HfApi` of a Hub on which `public` are models that everyone sees."""

    def __init__(self, failure: Exception | None = None, public: tuple[str, ...] = ()) -> None:
        self.failure, self.public = failure, public
        self.made: dict[str, bool] = {}
        self.pushed: dict[str, list[str]] = {}

    def __call__(self) -> FakeHub:
        return self

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        if self.failure:
            raise self.failure
        assert exist_ok
        self.made.setdefault(name, private and name not in self.public)
        return f"https://hub.example/{name}"

    def model_info(self, name: str) -> Any:
        return type("Info", (), {"private": self.made[name]})

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: Any, ignore_patterns: Any, **_: Any):
        names = [str(path.relative_to(folder_path)) for path in sorted(folder_path.rglob("*")) if path.is_file()]
        kept = huggingface_hub.utils.filter_repo_objects(
            names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        self.pushed[repo_id] = list(kept)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return use(FakeHub(), monkeypatch)


def use(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a-secret")
    return fake


def test_a_checkpoint_is_pushed_with_its_card_and_without_what_training_keeps(
    copy: Path, fake: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("optimizer.safetensors", "state.json", ".cache/x.json", "train.log", "code.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("x")
    assert main(["push", str(copy), "owner/model", "--private"]) == 0
    assert capsys.readouterr().out == "https://hub.example/owner/model\n"
    assert fake.made == {"owner/model": True}
    assert {"README.md", "config.json", "environment.json", "model.safetensors", "tokenizer.json"} <= {
        *fake.pushed["owner/model"]
    }
    left_out = {"optimizer.safetensors", "state.json", ".cache/x.json", "train.log", "code.py"}
    assert not left_out & {*fake.pushed["owner/model"]}


def test_private_is_not_pushed_to_where_everyone_sees_it(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(FakeHub(public=("owner/model",)), monkeypatch)
    with pytest.raises(UsageError, match="is there and public"):
        push(policy, "owner/model", private=True)
    assert fake.pushed == {}
    push(policy, "owner/model")
    assert "owner/model" in fake.pushed


def forbidden(status: int) -> Exception:
    """As the client raises it for an answer of the Hub."""
    failure = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(failure, f"{status} from the Hub")
    failure.response = type("Response", (), {"status_code": status})()  # type: ignore[assignment]
    return failure


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (forbidden(401), UsageError, "hf auth login"),
        (forbidden(403), UsageError, "may write there"),
        (forbidden(503), InfrastructureError, "run the same command again"),
        (ConnectionError("no route"), InfrastructureError, "check the network"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(
    failure: Exception, kind: type[Exception], said: str, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(FakeHub(failure), monkeypatch)
    with pytest.raises(kind, match=said) as raised:
        push(policy, "owner/model")
    assert "a-secret" not in str(raised.value)


def test_without_a_token_the_login_is_named(policy: Path, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UsageError, match=r"hf auth login.*HF_TOKEN"):
        push(policy, "owner/model")
    assert fake.made == {}


def test_a_bad_name_and_a_missing_package_are_said_first(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="write owner/name"):
        push(policy, "model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'vrag\[hub\]'"):
        push(policy, "owner/model")


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    save_file({"a": np.zeros(3, np.float32)}, folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lose_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def adapters(folder: Path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/me/base"}')


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no checkpoint"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors: is missing"),
        (cut, r"model\.safetensors: is damaged"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 9), "is damaged"),
        (shard, "00002-of-00002.safetensors: is missing"),
        (lose_tokenizer, "no tokenizer"),
        (adapters, r"/home/me/base, which is no name on the Hub: train with lora\.merge=true"),
    ],
)
def test_what_is_no_whole_checkpoint_is_refused(spoil: Any, said: str, copy: Path, fake: FakeHub) -> None:
    check_whole(copy)
    spoil(copy)
    with pytest.raises(CheckpointError, match=said):
        push(copy, "owner/model")
    assert fake.made == {}
