"""A chat server that plays the agent: it searches until it was shown something, looks closer if it may, and answers."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

from tests.chats import Answer, Asked, completion

USAGE = {"prompt_tokens": 100, "completion_tokens": 7}


def texts(asked: Asked, role: str = "user") -> list[str]:
    """All text of the messages of `role`."""
    return [
        part["text"]
        for message in asked.body["messages"]
        if message["role"] == role
        for part in parts(message)
        if part["type"] == "text"
    ]


def images(asked: Asked) -> list[Image.Image]:
    urls = [
        part["image_url"]["url"]
        for message in asked.body["messages"]
        for part in parts(message)
        if part["type"] == "image_url"
    ]
    return [Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def plays(gold: dict[str, str], box: str = "[10, 10, 200, 120]") -> Answer:
    """Answers a question by the entry of `gold` whose key is in it. Leaves the last closing tag out, as servers do that
    are told to stop there.
    """

    def answer(asked: Asked) -> None:
        said = turn(asked, gold, box)
        assert said.rpartition("</")[0]
        asked.send(200, completion(said.rpartition("</")[0], USAGE))

    return answer


def turn(asked: Asked, gold: dict[str, str], box: str = "[10, 10, 200, 120]") -> str:
    prompt, *seen = texts(asked)
    shown = images(asked)
    question = prompt.partition("Question: ")[2]
    if not shown and not seen:
        query = re.sub(r"[^\w ]", "", question)
        return f"<think>I look.</think><search>{query}</search>"
    if len(shown) == 1 and "<bbox>" in prompt:
        return f"<think>Closer.</think><bbox>{box}</bbox>"
    return f"<think>There.</think><answer>{next(a for key, a in gold.items() if key in question)}</answer>"


def at_random(share: float, seed: int, faults: Sequence[Answer], healthy: Answer) -> Answer:
    """One of `faults` for about that share of the requests."""
    rng = random.Random(seed)

    def answer(asked: Asked) -> None:
        with asked.server.owner.lock:
            fault = rng.choice(faults) if rng.random() < share else None
        (fault or healthy)(asked)

    return answer
