"""What only the kernel of torch has: which vectors stay on the device, and how it is chosen. On torch's CPU; what every
kernel promises is in `test_vector_index.py` and `test_index_conformance.py`.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.vectors import DIM, a_page, a_query, unit
from vrag import kernels, maxsim_torch
from vrag.errors import InfrastructureError, UsageError
from vrag.index import maxsim, maxsim_numba, writing
from vrag.index.embedded import EmbeddedIndex
from vrag.index.quantize import Quantized, quantize
from vrag.kernels import KernelChoice
from vrag.maxsim_torch import TorchMaxSim

QUERY = unit(np.random.default_rng(7).standard_normal((26, DIM)))
STARTS = np.arange(0, 300, 10)
SIZE = 300 * (DIM + 4)  # bytes of these vectors on the device


def some_vectors(seed: int = 0) -> Quantized:
    return quantize(unit(np.random.default_rng(seed).standard_normal((300, DIM))))


def check(kernel: TorchMaxSim, vectors: Quantized, pages: np.ndarray | slice = slice(None)) -> None:
    starts = STARTS[pages]
    truth = maxsim.maxsim(vectors, starts, starts + 10, QUERY)
    np.testing.assert_allclose(kernel(vectors, starts, starts + 10, QUERY), truth, rtol=1e-4, atol=1e-4)


def test_a_scan_has_all_vectors_stay_and_candidates_only_when_as_many_were_sent():
    kernel, scanned, picked = TorchMaxSim("cpu"), some_vectors(), some_vectors(1)
    check(kernel, scanned)
    assert kernel.bytes_held == SIZE
    for _ in range(3):
        check(kernel, picked, np.array([3, 9, 4, 20, 21, 22, 0, 1, 2]))
        assert kernel.bytes_held == SIZE
    check(kernel, picked, np.array([5, 7, 6]))
    assert kernel.bytes_held == 2 * SIZE
    check(kernel, picked, np.array([29, 7, 8]))


@pytest.mark.parametrize("room", [0, SIZE - 1, SIZE, 2 * SIZE])
def test_vectors_stay_as_long_as_there_is_room_and_the_others_are_sent_with_the_same_result(room: int):
    kernel, every = TorchMaxSim("cpu", memory=room), [some_vectors(seed) for seed in range(3)]
    for _ in range(2):
        for vectors in every:
            check(kernel, vectors)
            assert kernel.bytes_held <= room
    assert kernel.bytes_held == room // SIZE * SIZE


def test_vectors_that_an_index_has_dropped_leave_the_device_and_make_room():
    kernel, vectors = TorchMaxSim("cpu", memory=SIZE), some_vectors()
    check(kernel, vectors)
    del vectors
    gc.collect()
    assert kernel.bytes_held == 0
    other = some_vectors(1)
    check(kernel, other)
    assert kernel.bytes_held == SIZE


@pytest.mark.parametrize("room", [0, SIZE])
@pytest.mark.parametrize("chunk", [1, 31 * DIM, 100 * DIM])
def test_chunks_give_what_one_piece_gives(room: int, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maxsim_torch, "CHUNK", chunk)
    kernel, vectors = TorchMaxSim("cpu", memory=room), some_vectors()
    check(kernel, vectors)
    check(kernel, vectors, np.array([7, 3, 4, 5, 29]))


def test_a_device_that_has_become_full_is_no_error_until_not_even_a_chunk_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kernel, held, more = TorchMaxSim("cpu"), some_vectors(), some_vectors(1)
    check(kernel, held)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(TorchMaxSim, "_uploaded", full)
        check(kernel, more)
    check(kernel, more)
    assert kernel.bytes_held == SIZE
    assert [record.message for record in caplog.records] == [
        "cpu has less memory than there was: more vectors are sent for each search"
    ]
    monkeypatch.setattr(maxsim_torch, "_scores", full)
    with pytest.raises(InfrastructureError, match="no memory is left on cpu"):
        check(kernel, held)


def test_segments_that_a_commit_leaves_alone_are_not_uploaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "SEGMENT", 60)
    uploads, upload = list[int](), TorchMaxSim._uploaded

    def counted(self: TorchMaxSim, vectors: Quantized) -> object:
        uploads.append(len(vectors.codes))
        return upload(self, vectors)

    monkeypatch.setattr(TorchMaxSim, "_uploaded", counted)
    EmbeddedIndex.create(tmp_path / "vectors", DIM, "an encoder").close()
    index = EmbeddedIndex.open(tmp_path / "vectors", kernel=TorchMaxSim("cpu"))
    for number in range(8):
        index.upsert([a_page(number)])
    index.search(a_query(0), 1, exact=True)
    assert len(uploads) > 3
    before = len(uploads)
    index.upsert([a_page(8)])
    assert index.search(a_query(0, a_page(8)), 1, exact=True)[0].page_id == "page-8"
    assert len(uploads) == before + 1


# ------------------------------------------------------------------------------------------- the choice


def test_auto_is_numba_without_a_gpu_numpy_without_numba_and_torch_with_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "_has_gpu", lambda: False)
    assert KernelChoice().load() is maxsim_numba.maxsim
    with monkeypatch.context() as patch:
        patch.setattr(maxsim, "find_spec", lambda _: None)
        assert KernelChoice().load() is maxsim.maxsim
    monkeypatch.setattr(kernels, "_has_gpu", lambda: True)
    made = list[tuple[str, int | None]]()
    monkeypatch.setattr(maxsim_torch, "TorchMaxSim", lambda device, memory: made.append((device, memory)))
    KernelChoice().load()
    KernelChoice("torch", "cuda:1", 5).load()
    assert made == [("cuda", None), ("cuda:1", 5)]


def test_what_cannot_be_chosen_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="not for 'numpy'"):
        KernelChoice("numpy", device="cuda").load()
    with pytest.raises(UsageError, match="not for 'auto'"):
        KernelChoice(memory=5).load()
    for device in ("gpu", "cuda:99"):
        with pytest.raises(UsageError, match=f"no device '{device}'"):
            KernelChoice("torch", device).load()
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"vrag\[encoders\]"):
        KernelChoice("torch").load()
