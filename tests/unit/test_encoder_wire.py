"""What an encoder server says: vectors come back as they were, and anything else is told apart."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from tests.vectors import a_page
from vrag.encoders.wire import About, kind_of, pack, unpack
from vrag.errors import BudgetExceeded, DocumentError
from vrag.types import PatchGrid

ROWS = a_page(1, vectors=30).vectors.vectors
ABOUT = About(fingerprint="f-1", grid=PatchGrid(2, 4, 7))
META = {"about": ABOUT.model_dump_json()}


def test_fp32_comes_back_to_the_bit_and_in_order():
    many = [ROWS, ROWS[::-1][:3], ROWS[:, :][5:6]] * 5  # more than ten, so that "10" comes before "2" as text
    vectors, about = unpack(pack(many, ABOUT, "float32"), 15, ROWS.shape[1])
    assert about == ABOUT
    assert all(np.array_equal(a, b) and a.dtype == np.float32 for a, b in zip(vectors, many, strict=True))


def test_fp16_is_half_as_long_and_off_by_no_more_than_its_rounding():
    body = pack([ROWS], ABOUT, "float16")
    (vectors,), _ = unpack(body, 1, ROWS.shape[1])
    assert vectors.dtype == np.float32
    assert np.abs(vectors - ROWS).max() <= 2**-11
    assert np.linalg.norm(vectors, axis=1).max() <= 1 + 1e-3  # what an index takes
    assert len(body) < 0.55 * len(pack([ROWS], ABOUT, "float32"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>nothing</html>",
        struct.pack("<Q", 1 << 60) + b"{}",
        pack([ROWS], ABOUT, "float32")[:-1],
        pack([], ABOUT, "float32"),
        pack([ROWS[:, :5]], ABOUT, "float32"),
        pack([ROWS[0]], ABOUT, "float32"),
        save({"0": ROWS}),
        save({"0": ROWS}, {"about": "{}"}),
        save({"0": ROWS}, {"about": json.dumps({"fingerprint": 3})}),
        save({"0": ROWS.astype(np.int32)}, META),
        save({"zero": ROWS}, META),
    ],
    ids=range(12),
)
def test_anything_else_is_an_error(body: bytes):
    with pytest.raises(ValueError):
        unpack(body, 1, ROWS.shape[1])


def test_an_error_of_a_kind_of_ones_own_is_known_by_what_it_is_one_of():
    class TooDark(BudgetExceeded):
        pass

    assert kind_of(TooDark("black")) == "BudgetExceeded" and kind_of(DocumentError("x")) == "DocumentError"
