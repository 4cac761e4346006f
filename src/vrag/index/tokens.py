"""Text to search tokens, the same for pages and for queries.

Case, width, ligatures (NFKC) and the diacritics of alphabets are folded. Scripts written without spaces (Han,
kana, Thai, Lao, Khmer, Burmese) and Hangul become overlapping pairs of characters; the last character of a
run is a token of its own, so that a query of a single character finds every run that holds it, as a prefix. A
number with a point or a thousands separator gives itself as one token ("1,234.5" → "1234·5") and its parts.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 64  # characters of one token
_PAIRED = (
    "\u0e01-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3041-\u30fe\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul
)
# \w holds no combining vowel signs, without which the words of Indic scripts would fall apart
_SPACED = rf"(?:[^\W_{_PAIRED}]|[\u0900-\u0963\u0966-\u0dff\u0f18-\u0fbc])+"
_NUMBER = r"\d+(?:[.,]\d+)+"
_TOKEN = re.compile(f"(?P<number>{_NUMBER})|(?P<paired>[{_PAIRED}]+)|(?P<word>{_SPACED})")
_BEGINNING = re.compile(f"(?<![^ ])[{_PAIRED}]")
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_ASCII = re.compile(r"(?P<number>\d+(?:[.,]\d+)+)|(?P<word>[a-z0-9]+)")
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670]")
_LINE_BREAK = re.compile(f"(?<=[{_PAIRED}])[ \t]*\n[ \t]*(?=[{_PAIRED}])")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


def page_tokens(text: str) -> list[str]:
    """Tokens in the order of the text, for the index."""
    return _tokens(text, last=True)


def query_tokens(text: str) -> list[str]:
    """Tokens of a query. One that ends in `*` stands for any token that begins so."""
    return _tokens(text, last=False)


def beginnings(tokens: str) -> list[str]:
    """First characters of those of the page tokens, joined by spaces, that belong to a script without spaces: what a
    query token that ends in `*` stands for, in an index that can't search by the beginning of a token.
    """
    return _BEGINNING.findall(tokens)


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script that becomes pairs: one without spaces, or Hangul."""
    return _IS_PAIRED.match(char) is not None


def _tokens(text: str, *, last: bool) -> list[str]:
    ascii_only = text.isascii()
    text = text.lower() if ascii_only else _fold(text)
    tokens: list[str] = []
    for match in (_ASCII if ascii_only else _TOKEN).finditer(text):
        token = match.group()
        if match.lastgroup == "word":
            tokens.append(token[:LONGEST])
        elif match.lastgroup == "number":
            tokens += _number(token)
        else:
            tokens += _pairs(token, last)
    return tokens


def _fold(text: str) -> str:
    text = unicodedata.normalize("NFKD", text).casefold()
    text = unicodedata.normalize("NFKC", _MARKS.sub("", unicodedata.normalize("NFKD", text)))
    return _LINE_BREAK.sub("", text)


def _number(token: str) -> list[str]:
    plain = _THOUSANDS.sub("", token)
    parts = re.split("[.,]", plain)
    return [plain] if len(parts) == 1 else ["·".join(parts)[:LONGEST], *(part[:LONGEST] for part in parts)]


def _pairs(run: str, last: bool) -> list[str]:
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    if last:
        return [*pairs, run[-1]]
    return pairs or [run + "*"]
