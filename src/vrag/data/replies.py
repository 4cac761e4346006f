"""What models behind endpoints said and cost, kept on disk, so that no reply is paid for twice.

A killed run plays the episodes that were in flight again from the replies that it had: the same requests, by their
content, get the same replies. Unlike a judge's cache this one holds text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vrag import database
from vrag.chat import Chat, NoReply, Objection, Reply
from vrag.killpoints import killpoint
from vrag.runs import content_key
from vrag.types import ImagePart, Message, Sampling, Usage

KIND = database.Kind("cache of replies", 0x76727031, format=1)  # "vrp1"
_SCHEMA = """
CREATE TABLE replies (key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE costs (
    who               TEXT PRIMARY KEY,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) WITHOUT ROWID;
"""
_COUNTS = ("calls", "prompt_tokens", "completion_tokens")
_SPEND = """
INSERT INTO costs VALUES (?, ?, ?, ?) ON CONFLICT (who) DO UPDATE SET
    calls = calls + excluded.calls,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens
"""


class Replies:
    """Replies by the key of their request, and what all requests cost, by who was asked. Raises `CorpusError` naming
    the file when it can't be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._what = f"cache of replies {file}"
        database.ensure(file, KIND, _SCHEMA, {})
        self._db = database.connect(file, KIND)

    def get(self, key: str) -> Reply | None:
        with database.translated(self._what):
            row = self._db.execute("SELECT text, finish FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else Reply(row[0], row[1], Usage())

    def keep(self, key: str, who: str, reply: Reply) -> None:
        with database.translated(self._what), database.transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, reply.text, reply.finish))
            self._db.execute(_SPEND, _row(who, reply.usage))
        killpoint("replies.kept")

    def spend(self, who: str, usage: Usage) -> None:
        """Count what was spent without a reply to keep."""
        with database.translated(self._what):
            self._db.execute(_SPEND, _row(who, usage))

    def costs(self) -> dict[str, Usage]:
        with database.translated(self._what):
            rows = self._db.execute(f"SELECT who, {', '.join(_COUNTS)} FROM costs ORDER BY who").fetchall()
        return {who: Usage(**dict(zip(_COUNTS, counts, strict=True))) for who, *counts in rows}

    def close(self) -> None:
        self._db.close()


class RememberedChat:
    """A chat whose replies are kept: what was answered once, to the same messages and sampling, is not asked again."""

    def __init__(self, chat: Chat, who: str, replies: Replies) -> None:
        self._chat, self._who, self._replies = chat, who, replies

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling | None = None, objection: Objection | None = None
    ) -> Reply:
        """As `Chat.ask`; what is remembered costs nothing, and only what nothing was objected to is."""
        key = content_key(self._chat.settings, [_content(m) for m in messages], vars(sampling) if sampling else None)
        known = self._replies.get(key)
        if known is not None and (objection is None or objection(known.text) is None):
            return known
        try:
            reply = await self._chat.ask(messages, sampling, objection)
        except NoReply as failure:
            self._replies.spend(self._who, failure.usage)
            raise
        self._replies.keep(key, self._who, reply)
        return reply


def _row(who: str, usage: Usage) -> tuple[str, int, int, int]:
    return who, usage.calls, usage.prompt_tokens, usage.completion_tokens


def _content(message: Message) -> list[str]:
    """What a server is sent, images as hashes of their pixels."""
    return [message.role, *(_digest(part) if isinstance(part, ImagePart) else f"text {part}" for part in message.parts)]


def _digest(part: ImagePart) -> str:
    image = part.image
    return f"image {image.width}x{image.height} {hashlib.sha256(image.tobytes()).hexdigest()}"
