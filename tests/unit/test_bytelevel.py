"""Tokens of a byte-level vocabulary as text: nothing lost, nothing moved but the parts of a character."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrag.codecs.bytelevel import pieces
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.training.tiny import TinyShape, make_image_processor, make_tokenizer

TEXTS = ["naïve 表 café 日本 👩‍🔬 <search>a</search>\n", "Ünïcödé \u2028 \ufffd ="]


@pytest.fixture(scope="module")
def codec() -> QwenVLCodec:
    return QwenVLCodec(make_tokenizer(TEXTS * 3, 340), make_image_processor(TinyShape()))


def whole(codec: QwenVLCodec, ids: list[int]) -> str:
    return codec.tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_a_text_are_the_text(codec: QwenVLCodec, text: str) -> None:
    ids = [*codec.encode_text(text), codec.end_of_turn_id]
    found = codec.pieces(ids)
    assert len(found) == len(ids) and "".join(found) == f"{text}<|im_end|>" == whole(codec, ids)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_pieces_of_any_tokens_are_what_the_tokenizer_makes_of_them_all(codec: QwenVLCodec, data: Any) -> None:
    ids = data.draw(st.lists(st.integers(0, len(codec.tokenizer) - 1), max_size=40))
    assert "".join(codec.pieces(ids)) == whole(codec, ids)


def test_a_character_stands_at_the_token_that_finishes_it() -> None:
    assert pieces(["a", "Ã", "©", "b"]) == ["a", "", "é", "b"]


def test_a_character_that_is_never_finished_is_the_tokens_that_began_it() -> None:
    assert pieces(["Ã", "<|im_end|>", "a"]) == ["\ufffd", "<|im_end|>", "a"]
    assert pieces(["a", "Ã"]) == ["a", "\ufffd"] and pieces([]) == []


def test_what_was_added_to_the_vocabulary_as_text_is_itself() -> None:
    assert pieces(["<oh my>", "Ġ", "表"]) == ["<oh my>", " ", "表"]
