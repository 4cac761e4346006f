"""The text of each token of a byte-level BPE, whose tokens are bytes and may end within a character."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import cache

BROKEN = "\ufffd"


def pieces(tokens: Iterable[str]) -> list[str]:
    """The text of each token, as the vocabulary writes it; together they are the text of all.

    A character whose bytes are spread over several tokens stands at the last of them, and the others are empty.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found: list[str] = []
    for token in tokens:
        within = bool(decoder.getstate()[0])
        text = decoder.decode(_bytes(token))
        if within and text.startswith(BROKEN):  # the character before was never finished: it isn't this token's
            found[-1] += BROKEN
            text = text[1:]
        found.append(text)
    if found:
        found[-1] += decoder.decode(b"", final=True)
    return found


def _bytes(token: str) -> bytes:
    """What a token stands for; one that was added to the vocabulary as text stands for itself."""
    table = _table()
    return bytes(table[c] for c in token) if all(c in table for c in token) else token.encode()


@cache
def _table() -> dict[str, int]:
    """The byte of each character of a byte-level vocabulary: printable ones are themselves, others come from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
