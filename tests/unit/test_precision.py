"""What is computed in bf16, and where."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from vrag.training.align import AlignConfig
from vrag.training.encoder import EncoderTrainingConfig
from vrag.training.ground import GroundConfig
from vrag.training.precision import Precision, autocast, in_bf16
from vrag.training.pretrain import PretrainConfig
from vrag.training.sft import SFTConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "has"), [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({}, False)]
)
def test_auto_is_bf16_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], has: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False} | capabilities)
    assert in_bf16(CPU, "auto") == has
    with autocast(SimpleNamespace(device=CPU), "auto"):
        assert torch.is_autocast_enabled("cpu") == has


def test_auto_is_fp32_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not in_bf16(CPU, "auto")
    assert not in_bf16(torch.device("mps"), "auto")


def test_auto_on_a_gpu_is_not_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not in_bf16(torch.device("cuda"), "auto")


@pytest.mark.parametrize(("precision", "bf16"), [("bf16", True), ("fp32", False)])
def test_what_is_asked_for_is_done(monkeypatch: pytest.MonkeyPatch, precision: Precision, bf16: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": not bf16})
    assert in_bf16(CPU, precision) == bf16


@pytest.mark.parametrize("config", [PretrainConfig, GroundConfig, SFTConfig, AlignConfig, EncoderTrainingConfig])
def test_no_training_emulates_bf16_unasked(config: type) -> None:
    assert config().precision == "auto"
