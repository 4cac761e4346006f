"""Encoders over the real classes of transformers at a few thousand random parameters, loaded as from the Hub."""

from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.checkpoints import DIM, LAYERS, TEXTS, make_clip, make_colmodernvbert, make_colpali, make_colqwen2, save
from tests.serving import started
from vrag.encoders.batches import plan
from vrag.encoders.dense import DenseEncoder
from vrag.encoders.late_interaction import LateInteractionEncoder, patch_grid
from vrag.encoders.load import load_encoder
from vrag.errors import (
    BudgetExceeded,
    CheckpointError,
    ConfigError,
    DocumentError,
    InfrastructureError,
    UnreadableDocument,
    UnsupportedFormat,
    UsageError,
)
from vrag.index.vectors import EncoderName
from vrag.servers.encoder import create_app
from vrag.testing import FakeEncoder, MemoryStore
from vrag.training.tiny import make_tokenizer
from vrag.types import PageVectors, PatchGrid

torch.set_num_threads(1)

SIZES = [(100, 60), (60, 140), (200, 120), (30, 30), (100, 60)]  # of 8, 10, 28, 1 and 8 patches


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


PAGES = [noise(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="session")
def colqwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_colqwen2(tmp_path_factory.mktemp("models") / "colqwen2")


@pytest.fixture(scope="session")
def colpali(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_colpali(tmp_path_factory.mktemp("models") / "colpali")


@pytest.fixture(scope="session")
def colmodernvbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_colmodernvbert(tmp_path_factory.mktemp("models") / "colmodernvbert")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("models") / "clip")


def late(folder: Path, **settings: Any) -> LateInteractionEncoder:
    encoder = load_encoder(str(folder), **{"device": "cpu", **settings})
    assert isinstance(encoder, LateInteractionEncoder)
    return encoder


@pytest.fixture(scope="session")
def encoder(colqwen2: Path) -> LateInteractionEncoder:
    return late(colqwen2)


@pytest.fixture
def copy(colqwen2: Path, tmp_path: Path) -> Path:
    return shutil.copytree(colqwen2, tmp_path / "copy")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def pages(encoder: Any, images: list[Image.Image] = PAGES) -> list[PageVectors]:
    found = encoder.encode_pages(images)
    assert all(isinstance(page, PageVectors) for page in found), found
    return found


@contextmanager
def before_forward(encoder: LateInteractionEncoder, act: Callable[[torch.Tensor], None]) -> Any:
    """Calls `act` with the input ids [B, L] of each batch that the model gets to see."""
    hook = encoder.model[0].register_forward_pre_hook(lambda _module, args: act(args[0]["input_ids"]))
    try:
        yield
    finally:
        hook.remove()


# -------------------------------------------------------------------------------------------- vectors


def test_vectors_are_of_length_one_and_without_padding(encoder: LateInteractionEncoder):
    prompt = len(pages(encoder, [PAGES[3]])[0].vectors) - 1
    for page, patches in zip(pages(encoder), [8, 10, 28, 1, 8], strict=True):
        assert page.vectors.dtype == np.float32
        assert page.vectors.shape == (prompt + patches, DIM)
        np.testing.assert_allclose(np.linalg.norm(page.vectors, axis=1), 1, atol=1e-6)


def test_a_batch_of_ragged_pages_equals_encoding_them_one_by_one(encoder: LateInteractionEncoder):
    for page, image in zip(pages(encoder), PAGES, strict=True):
        [alone] = pages(encoder, [image])
        np.testing.assert_allclose(page.vectors, alone.vectors, atol=1e-5)
        assert page.grid == alone.grid


def test_pages_and_queries_are_what_the_library_makes_of_them(encoder: LateInteractionEncoder, colqwen2: Path):
    from sentence_transformers import MultiVectorEncoder

    reference = MultiVectorEncoder(str(colqwen2.resolve()), device="cpu")
    for page, expected in zip(pages(encoder), reference.encode_document(PAGES, convert_to_numpy=True), strict=True):
        np.testing.assert_allclose(page.vectors, expected, atol=1e-5)
    queries = ["revenue", "what is the revenue of acme in 2020?", "what?"]
    expected_queries = reference.encode_query(queries, convert_to_numpy=True)
    for query, expected in zip(encoder.encode_queries(queries), expected_queries, strict=True):
        np.testing.assert_allclose(query, expected, atol=1e-5)


def test_over_http_they_are_the_same_and_fit_the_same_index(encoder: LateInteractionEncoder):
    with started(create_app(encoder, EncoderName(name="colqwen2"))) as server:
        remote = load_encoder(server.url)
        assert (remote.dim, remote.fingerprint) == (encoder.dim, encoder.fingerprint)
        for here, there in zip(pages(encoder), pages(remote), strict=True):  # other batches: equal but for rounding
            assert here.grid == there.grid is not None
            np.testing.assert_allclose(there.vectors, here.vectors, atol=1e-5)
        queries = ["revenue", "a longer query about revenue"]
        for here, there in zip(encoder.encode_queries(queries), remote.encode_queries(queries), strict=True):
            np.testing.assert_allclose(there, here, atol=1e-5)


def test_nothing_to_encode_gives_nothing(encoder: LateInteractionEncoder):
    assert encoder.encode_pages([]) == [] and encoder.encode_queries([]) == []


def test_a_smaller_dim_keeps_the_leading_coordinates_and_the_length(encoder: LateInteractionEncoder, colqwen2: Path):
    short = late(colqwen2, dim=6)
    assert (encoder.dim, short.dim) == (DIM, 6)
    for page, whole in zip(pages(short), pages(encoder), strict=True):
        prefix = whole.vectors[:, :6]
        np.testing.assert_allclose(page.vectors, prefix / np.linalg.norm(prefix, axis=1, keepdims=True), atol=1e-5)
    assert short.encode_queries(["revenue"])[0].shape[1] == 6
    with pytest.raises(ConfigError, match="16 coordinates, not of 17"):
        late(colqwen2, dim=17)


def test_half_precision_moves_vectors_by_no_more_than_rounding(encoder: LateInteractionEncoder, colqwen2: Path):
    half = late(colqwen2, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    for page, exact in zip(pages(half), pages(encoder), strict=True):
        np.testing.assert_allclose(np.linalg.norm(page.vectors, axis=1), 1, atol=1e-6)
        assert (page.vectors * exact.vectors).sum(axis=1).min() > 0.99 and (page.vectors != exact.vectors).any()


def test_max_pixels_shrinks_larger_pages_alone(encoder: LateInteractionEncoder, colqwen2: Path):
    limited = late(colqwen2, max_pixels=12 * 28 * 28)
    before, after = pages(encoder), pages(limited)
    for index in (0, 1, 3):
        np.testing.assert_allclose(before[index].vectors, after[index].vectors, atol=1e-5)
    grid = after[2].grid
    assert grid is not None and grid.rows * grid.columns <= 12
    with pytest.raises(ConfigError, match="below the 784"):
        late(colqwen2, max_pixels=100)


# ----------------------------------------------------------------------------------------------- grid


def test_the_grid_is_the_processors_and_points_at_the_image_tokens(encoder: LateInteractionEncoder):
    processor = encoder.model.processor
    for page, image in zip(pages(encoder), PAGES, strict=True):
        features = processor(images=[image])
        _, rows, columns = (features["image_grid_thw"][0] // processor.image_processor.merge_size).tolist()
        patches = (features["input_ids"][0] == processor.image_token_id).nonzero().flatten().tolist()
        assert page.grid == PatchGrid(first=patches[0], rows=rows, columns=columns)
        assert patches == list(range(patches[0], patches[0] + rows * columns))


def test_colpali_sees_each_page_as_the_same_square(colpali: Path):
    encoder = late(colpali)
    [page, *others] = pages(encoder)
    assert page.grid == PatchGrid(first=0, rows=4, columns=4)
    assert {other.vectors.shape for other in others} == {page.vectors.shape}
    with pytest.raises(ConfigError, match="ColPaliProcessor has no such limit"):
        late(colpali, max_pixels=10_000)


def test_colmodernvbert_gets_the_prompts_of_its_own_processor(colmodernvbert: Path):
    encoder = late(colmodernvbert)
    processor, model = encoder.model.processor, encoder.model.transformers_model
    for page, image in zip(pages(encoder, PAGES[:3]), PAGES[:3], strict=True):
        expected = model(**processor.process_images([image])).embeddings[0].numpy()
        np.testing.assert_allclose(page.vectors, expected, atol=1e-5)
        assert page.grid is None  # tiles and the whole page, one after the other
    queries = ["revenue", "what is the revenue of acme?"]
    for query, text in zip(encoder.encode_queries(queries), queries, strict=True):
        expected = model(**processor.process_queries([text])).embeddings[0].numpy()
        np.testing.assert_allclose(query, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "mask", "expected"),
    [
        ([1, 9, 9, 9, 9, 2], [1, 1, 1, 1, 1, 1], PatchGrid(first=1, rows=2, columns=2)),
        ([0, 1, 9, 9, 9, 9], [0, 1, 1, 1, 1, 1], PatchGrid(first=1, rows=2, columns=2)),  # padded on the left
        ([1, 9, 9, 9, 9, 2], [0, 1, 1, 1, 1, 0], PatchGrid(first=0, rows=2, columns=2)),  # patches alone are kept
        ([1, 9, 9, 2, 9, 9], [1, 1, 1, 1, 1, 1], None),  # tiles, with a token between them
        ([1, 9, 9, 9, 9, 9], [1, 1, 1, 1, 1, 1], None),  # more patches than the square has
        ([1, 9, 9, 9, 9, 2], [1, 1, 0, 1, 1, 1], None),  # one of them isn't kept
        ([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1], None),
    ],
)
def test_a_grid_that_does_not_fit_the_kept_tokens_is_none(ids: list[int], mask: list[int], expected: PatchGrid | None):
    processor = SimpleNamespace(image_token="<image>", image_seq_length=4)
    tokenizer = SimpleNamespace(convert_tokens_to_ids={"<image>": 9}.get)

    class Model(list[Any]):
        pass

    model: Any = Model()
    model.processor, model.tokenizer = processor, tokenizer
    row = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    assert patch_grid(row, model) == expected
    assert patch_grid({"attention_mask": torch.tensor(mask)}, model) is None


def test_pooled_vectors_have_no_grid(copy: Path, encoder: LateInteractionEncoder):
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    model = MultiVectorEncoder(str(copy), device="cpu")
    model.append(HierarchicalTokenPooling(pool_factor=2))
    model.save_pretrained(str(copy.parent / "pooled"), create_model_card=False)
    for page, whole in zip(pages(late(copy.parent / "pooled")), pages(encoder), strict=True):
        assert page.grid is None and len(page.vectors) < len(whole.vectors)


# -------------------------------------------------------------------------------------------- batches


def test_no_batch_is_larger_than_its_budget(colqwen2: Path, encoder: LateInteractionEncoder):
    frugal = late(colqwen2, batch_tokens=60)
    seen: list[tuple[int, int]] = []
    with before_forward(frugal, lambda ids: seen.append((ids.shape[0], ids.shape[1]))):
        found = pages(frugal)
    assert all(members * length <= 60 for members, length in seen)
    assert sum(members for members, _ in seen) == len(PAGES) > len(seen)
    for page, expected in zip(found, pages(encoder), strict=True):
        np.testing.assert_allclose(page.vectors, expected.vectors, atol=1e-5)


def test_what_is_larger_than_the_budget_goes_alone(colqwen2: Path):
    seen: list[int] = []
    frugal = late(colqwen2, batch_tokens=1)
    with before_forward(frugal, lambda ids: seen.append(len(ids))):
        pages(frugal)
        frugal.encode_queries(["revenue", "what?"])
    assert seen == [1] * 7


def test_no_batch_is_held_beyond_its_end(colqwen2: Path):
    frugal = late(colqwen2, batch_tokens=60)
    earlier: list[weakref.ref[torch.Tensor]] = []

    def check(ids: torch.Tensor) -> None:
        assert not any(ref() is not None for ref in earlier)
        earlier.append(weakref.ref(ids))
        if len(earlier) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with before_forward(frugal, check):
        found = frugal.encode_pages(PAGES)
    assert [type(page) for page in found].count(PageVectors) == 4 and len(earlier) > 2


def test_a_plan_holds_each_member_once_with_its_like():
    lengths = [5, 40, 6, 200, 38, 5]
    batches = list(plan(lengths, 80))
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert [[lengths[index] for index in batch] for batch in batches] == [[200], [40, 38], [6, 5, 5]]


def unreadable() -> Image.Image:
    """A file that opens and breaks off in the middle."""
    buffer = io.BytesIO()
    noise((100, 60)).save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.getvalue()[: buffer.tell() // 2]))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (Image.new("RGB", (0, 60)), UnreadableDocument, r"image 3 of 5 \(0 x 60 pixels\) is empty"),
        (Image.new("L", (100, 60)), UnsupportedFormat, r"image 3 of 5 \(100 x 60 pixels\) has mode L"),
        (Image.new("RGB", (5000, 10)), UnreadableDocument, "image 3 of 5 .* absolute aspect ratio"),
        (unreadable(), UnreadableDocument, r"image 3 of 5 \(100 x 60 pixels\) can't be encoded \(OSError: .*truncated"),
    ],
    ids=["empty", "grey", "too long", "truncated"],
)
def test_a_bad_page_is_named_and_leaves_the_others_as_they_are(
    encoder: LateInteractionEncoder, bad: Image.Image, kind: type[DocumentError], message: str
):
    found = encoder.encode_pages([*PAGES[:2], bad, *PAGES[3:]])
    with pytest.raises(kind, match=message):
        raise found.pop(2)  # type: ignore[misc]
    for page, expected in zip(found, pages(encoder, [*PAGES[:2], *PAGES[3:]]), strict=True):
        assert isinstance(page, PageVectors)
        np.testing.assert_allclose(page.vectors, expected.vectors, atol=1e-5)


def test_a_page_that_the_model_fails_on_is_found_one_by_one(encoder: LateInteractionEncoder):
    longest = len(pages(encoder)[2].vectors)

    def fail(ids: torch.Tensor) -> None:
        if ids.shape[1] == longest:
            raise ValueError("a kernel's bad day")

    with before_forward(encoder, fail):
        found = encoder.encode_pages(PAGES)
    assert [isinstance(page, PageVectors) for page in found] == [True, True, False, True, True]
    assert isinstance(found[2], UnreadableDocument) and "a kernel's bad day" in str(found[2])


def test_a_batch_that_does_not_fit_the_memory_is_halved(encoder: LateInteractionEncoder):
    seen: list[int] = []

    def run_out(ids: torch.Tensor) -> None:
        seen.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = pages(encoder)
    with before_forward(encoder, run_out):
        found = pages(encoder)
    assert seen == [5, 2, 2, 1]
    for page, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(page.vectors, other.vectors, atol=1e-5)


def test_a_page_that_does_not_fit_the_memory_alone_exceeds_the_budget(encoder: LateInteractionEncoder):
    def run_out(ids: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with before_forward(encoder, run_out):
        found = encoder.encode_pages(PAGES[:2])
    assert all(isinstance(page, BudgetExceeded) for page in found)
    assert "image 2 of 2 (60 x 140 pixels) doesn't fit the memory even alone; set max_pixels" in str(found[1])


def test_a_broken_gpu_is_no_fault_of_the_pages(encoder: LateInteractionEncoder, monkeypatch: pytest.MonkeyPatch):
    class Lost(RuntimeError):
        pass

    monkeypatch.setattr(torch, "AcceleratorError", Lost, raising=False)

    def lose(ids: torch.Tensor) -> None:
        raise Lost("device-side assert triggered")

    with before_forward(encoder, lose), pytest.raises(InfrastructureError, match="device-side assert"):
        encoder.encode_pages(PAGES)


def test_a_query_that_fails_is_named(encoder: LateInteractionEncoder):
    def fail(ids: torch.Tensor) -> None:
        raise ValueError("no")

    with before_forward(encoder, fail), pytest.raises(InfrastructureError, match="query 'revenue' can't be encoded"):
        encoder.encode_queries(["revenue"])


def test_vectors_that_are_not_finite_never_get_out(copy: Path):
    change_weights(copy, float("nan"))
    [page] = late(copy).encode_pages(PAGES[:1])
    assert isinstance(page, UnreadableDocument) and "aren't finite" in str(page)


# ----------------------------------------------------------------------------------------- fingerprint


def change_weights(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embedding_proj_layer.weight"][0, 0] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_fingerprint_follows_whatever_changes_vectors(encoder: LateInteractionEncoder, colqwen2: Path, copy: Path):
    assert len(encoder.fingerprint) >= 16 and int(encoder.fingerprint, 16)
    assert late(copy).fingerprint == encoder.fingerprint  # wherever the folder lies
    prints = {late(colqwen2, dim=6).fingerprint, late(colqwen2, max_pixels=9408).fingerprint, encoder.fingerprint}
    change_weights(copy, 0.5)
    prints.add(late(copy).fingerprint)
    edit(copy / "processor_config.json", query_prefix="Frage: ")
    prints.add(late(copy).fingerprint)
    assert len(prints) == 5


def test_the_fingerprint_leaves_out_what_does_not(encoder: LateInteractionEncoder, colqwen2: Path, copy: Path):
    (copy / "README.md").write_text("my model")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "download.json").write_text("{}")
    for same in (
        late(colqwen2, batch_tokens=1),
        late(colqwen2, device="auto"),
        late(colqwen2, dtype="bfloat16"),
        late(colqwen2, dim=DIM),
        late(copy),
    ):
        assert same.fingerprint == encoder.fingerprint


def test_a_hub_model_is_identified_by_its_commit(colqwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        calls.append({"name": name, **options})
        folder = tmp_path / "snapshots" / (options["revision"] or "main") / ("c" * 40)
        return str(folder if folder.is_dir() else shutil.copytree(colqwen2, folder))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    first = late(Path("owner/model"))
    change_weights(tmp_path / "snapshots" / "main" / ("c" * 40), 0.5)
    assert late(Path("owner/model"), revision="main").fingerprint == first.fingerprint
    assert calls[-1]["name"] == "owner/model" and calls[-1]["revision"] == "main"
    assert not any(pattern in ("*", "*.bin", "*.py", "*.pt") for pattern in calls[0]["allow_patterns"])
    assert "*.safetensors" in calls[0]["allow_patterns"]
    assert late(Path("owner/other")).fingerprint != first.fingerprint


# --------------------------------------------------------------------------------------------- loading


def test_load_encoder_picks_by_what_the_checkpoint_is(colqwen2: Path, colpali: Path, clip: Path):
    assert isinstance(load_encoder(str(colqwen2)), LateInteractionEncoder)
    assert isinstance(load_encoder(str(colpali)), LateInteractionEncoder)
    assert isinstance(load_encoder(str(clip)), DenseEncoder)


def own_factory(**settings: Any) -> FakeEncoder:
    return FakeEncoder(lambda image: "word", **settings)


def test_load_encoder_takes_a_factory_of_your_own():
    assert load_encoder(f"{__name__}:own_factory", dim=7).dim == 7
    with pytest.raises(UsageError, match="no attribute 'nothing'"):
        load_encoder(f"{__name__}:nothing")
    with pytest.raises(UsageError, match="made a int"):
        load_encoder("builtins:int")


def test_a_name_that_is_no_checkpoint_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(CheckpointError, match="none: no such folder; give a folder"):
        load_encoder(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match=r"holds no model, neither config\.json nor modules\.json"):
        load_encoder(str(tmp_path))


def test_a_hub_model_that_is_not_to_be_had_names_what_to_check(monkeypatch: pytest.MonkeyPatch):
    def offline(*_args: Any, **_options: Any) -> str:
        raise FileNotFoundError("outgoing traffic has been disabled")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(CheckpointError, match=r"owner/model: .*outgoing traffic.*check name, revision, network"):
        load_encoder("owner/model")


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def forget_projection(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["embedding_proj_layer.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def need_code(folder: Path) -> None:
    (folder / "custom.py").write_text("raise SystemExit('the checkpoint ran its code')")
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "custom.Module"}]))
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "MultiVectorEncoder"}')


def be_a_reranker(folder: Path) -> None:
    (folder / "modules.json").write_text("[]")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"can't be loaded \(SafetensorError"),
        (forget_projection, r"lacks weights of its model.*embedding_proj_layer\.weight"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"can't be loaded \(OSError"),
        (pickle_weights, r"pytorch_model\.bin: only safetensors are loaded"),
        (need_code, r"can't be loaded \(ValueError: .*custom\.Module"),
        (be_a_reranker, "is a CrossEncoder, which encodes no pages"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: is not JSON"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "can't be loaded"),
    ],
    ids=["truncated", "incomplete", "no weights", "pickled", "remote code", "reranker", "no JSON", "no tokenizer"],
)
def test_a_checkpoint_that_is_not_as_it_should_be_is_refused(copy: Path, spoil: Callable[[Path], Any], message: str):
    spoil(copy)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_encoder(str(copy))
    assert str(copy) in str(refusal.value)


def test_missing_weights_are_noticed_where_transformers_is_told_to_be_silent(copy: Path):
    class Record(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    forget_projection(copy)
    heard, handler, logger = list[str](), Record(), logging.getLogger("transformers")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    try:
        with pytest.raises(CheckpointError, match="lacks weights"):
            load_encoder(str(copy))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert heard == []


def test_what_a_checkpoint_or_the_machine_cannot_follow_is_a_config_error(colqwen2: Path):
    for settings, message in [
        ({"revision": "main"}, "is a folder, which has none"),
        ({"device": "abacus"}, "torch knows none of this name"),
        ({"device": "cuda:99"}, "torch sees .* GPUs here"),
        ({"batch_tokens": 0}, "batch_tokens: .* greater than or equal to 1"),
        ({"batch_size": 8}, "batch_size: .*the settings are .*batch_tokens"),
        ({"trust_remote_code": True}, "trust_remote_code: Extra inputs are not permitted"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_encoder(str(colqwen2), **settings)


def test_each_encoder_refuses_the_others_checkpoint(colqwen2: Path, clip: Path):
    from vrag.encoders.settings import EncoderSettings

    with pytest.raises(CheckpointError, match="is no late interaction encoder; load_encoder picks"):
        LateInteractionEncoder(EncoderSettings(model=str(clip)))
    with pytest.raises(CheckpointError, match="is no dense encoder; load_encoder picks"):
        DenseEncoder(EncoderSettings(model=str(colqwen2)))


def test_a_missing_library_names_the_extra(colqwen2: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for name in (str(colqwen2), "owner/model"):
        with pytest.raises(UsageError, match=r"pip install 'vrag\[encoders\]'"):
            load_encoder(name)


def test_importing_the_encoders_imports_no_model_library():
    modules = "vrag.encoders.load, vrag.testing, sys"
    check = f"import {modules}; print({{'torch', 'transformers', 'sentence_transformers'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# ----------------------------------------------------------------------------------------------- dense


def test_a_dense_encoder_gives_one_vector_per_page_and_query(clip: Path):
    encoder = load_encoder(str(clip), device="cpu", dim=10, batch_tokens=8)
    found = pages(encoder)
    for page, image in zip(found, PAGES, strict=True):
        assert page.vectors.shape == (1, 10) and page.grid is None
        np.testing.assert_allclose(np.linalg.norm(page.vectors), 1, atol=1e-6)
        np.testing.assert_allclose(page.vectors, pages(encoder, [image])[0].vectors, atol=1e-5)
    queries = encoder.encode_queries(["revenue", "what is the revenue of acme?"])
    assert [query.shape for query in queries] == [(1, 10), (1, 10)]
    failure = encoder.encode_pages([Image.new("L", (9, 9)), PAGES[0]])[0]
    assert isinstance(failure, UnsupportedFormat)


def test_a_saved_sentence_transformer_is_loaded_as_it_was_saved(clip: Path, tmp_path: Path):
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(clip.resolve()), device="cpu").save_pretrained(str(tmp_path), create_model_card=False)
    saved, bare = load_encoder(str(tmp_path), device="cpu"), load_encoder(str(clip), device="cpu")
    assert isinstance(saved, DenseEncoder)
    np.testing.assert_array_equal(pages(saved)[0].vectors, pages(bare)[0].vectors)


def test_a_bare_language_model_is_no_retriever(tmp_path: Path):
    from transformers import BertConfig, BertModel

    save(tmp_path, BertModel(BertConfig(vocab_size=320, hidden_size=16, **LAYERS)), make_tokenizer(TEXTS, 320))
    with pytest.raises(CheckpointError, match="is a bare model"):
        load_encoder(str(tmp_path))


def test_a_retriever_of_texts_reads_no_images(tmp_path: Path):
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel

    bare, saved = tmp_path / "bare", tmp_path / "saved"
    save(bare, BertModel(BertConfig(vocab_size=320, hidden_size=16, **LAYERS)), make_tokenizer(TEXTS, 320))
    SentenceTransformer(str(bare), device="cpu").save_pretrained(str(saved), create_model_card=False)
    with pytest.raises(CheckpointError, match="but no images"):
        load_encoder(str(saved))


# ------------------------------------------------------------------------------------------------ fake


def test_the_fake_encoder_ranks_by_shared_words():
    store = MemoryStore()
    about = {line: store.image(store.add(f"{line}.pdf", 1, [line]).id) for line in ("Acme revenue", "Acme staff")}
    texts = {image.tobytes(): line for line, image in about.items()}
    encoder = FakeEncoder(lambda image: texts[image.tobytes()])
    found = pages(encoder, list(about.values()))
    [query] = encoder.encode_queries(["revenue of ACME"])
    scores = [(query @ page.vectors.T).max(axis=1).sum() for page in found]
    assert scores[0] - scores[1] > 0.5
    np.testing.assert_array_equal(query, FakeEncoder(lambda image: "").encode_queries(["revenue of acme"])[0])
    assert encoder.fingerprint != FakeEncoder(lambda image: "", dim=8).fingerprint


def test_the_fake_encoder_fails_as_real_ones_do():
    def read(image: Image.Image) -> str:
        if image.width == 1:
            raise UnreadableDocument("one pixel wide")
        return "" if image.width == 2 else "words"

    encoder = FakeEncoder(read)
    found = encoder.encode_pages([Image.new("RGB", (width, 9)) for width in (1, 2, 3)])
    assert [type(page) for page in found] == [UnreadableDocument, UnreadableDocument, PageVectors]
    with pytest.raises(InfrastructureError, match="holds no word"):
        encoder.encode_queries(["words", " "])
