"""Tokens: the same for a page and for what people type, in any script."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.index.tokens import LONGEST, page_tokens, query_tokens


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("Café MÜNCHEN", "cafe munchen"),
        ("ﬁnance ＡＢＣ", "finance abc"),
        ("STRASSE", "straße"),
        ("Й ё", "й е"),
        ("cafe\u0301", "CAFÉ"),
        ("revenue of 1,234 million", "1234"),
        ("growth was 12.5%", "12.5"),
        ("growth was 12.5 %", "12"),
        ("in 2022-23", "2022"),
        ("state-of-the-art", "state of the art"),
        ("snake_case", "snake"),
        ("我们爱北京", "北京"),
        ("中国人民", "国"),
        ("中国人民", "民"),
        ("東京タワー", "タワー"),
        ("한국어를 배우다", "한국어"),
        ("ประเทศไทย", "ไทย"),
        ("文档所依赖的各种元\n素", "元素"),
        ("हिन्दी भाषा", "हिन्दी"),
        ("العَرَبِيَّة", "العربية"),
        ("GPT4模型", "模型"),
        ("GPT4模型", "gpt4"),
    ],
)
def test_a_query_finds_the_page_that_says_it(page: str, query: str):
    held = page_tokens(page)
    wanted = query_tokens(query)
    assert wanted
    for token in wanted:
        if token.endswith("*"):
            assert any(one.startswith(token[:-1]) for one in held)
        else:
            assert token in held


def test_different_words_give_different_tokens():
    assert not set(page_tokens("北京")) & set(query_tokens("京北"))
    assert not set(page_tokens("मन")) & set(query_tokens("मान"))
    assert "12·5" not in page_tokens("125")


def test_a_word_of_an_indic_script_is_one_token():
    assert page_tokens("हिन्दी भाषा") == ["हिन्दी", "भाषा"]


@given(st.text())
def test_tokens_hold_nothing_that_the_query_language_could_read(text: str):
    for token in [*page_tokens(text), *query_tokens(text)]:
        assert 0 < len(token) <= LONGEST
        assert not set('"()^:+-{},\x00') & set(token)
        assert not any(char.isspace() for char in token)
        assert "*" not in token[:-1]


def test_a_megabyte_is_tokenised_in_linear_time():
    started = time.process_time()
    page_tokens("数据 word 1,234.5 " * 60_000)
    assert time.process_time() - started < 5
