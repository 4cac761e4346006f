"""What the environment's settings are by default, to the last character: checkpoints were trained in it."""

import asyncio
import hashlib

from vrag.environment import DocumentEnvironment
from vrag.geometry import render
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import ImagePart, Message, Task

SCRIPT = [
    "<think>look</think><search>revenue of Acme</search>",
    "<think>closer</think><bbox>[20, 20, 300, 160]</bbox>",
    "no action",
    "<think>other</think><search>acme</search>",
]
SAID = "14c8c08e5b158824421b2b8f22af4295"


def test_a_trajectory_is_what_it_was_when_the_first_checkpoints_were_trained() -> None:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Revenue of Acme", "2020 4,812", "2021 5,120"])
    store.add("acme.pdf", 2, ["Acme staff", "2020 310"])
    environment = DocumentEnvironment(store, WordRetriever(store))
    conversation = environment.reset(Task(id="t", question="What was the revenue of Acme in 2020?"))
    said: list[object] = []
    for text in SCRIPT:
        step = asyncio.run(environment.step(text))
        seen = step.turn.observation
        assert seen is not None
        said.append([step.turn.thought, step.turn.error, step.stop, seen.kind, seen.text])
        said.append([(hit.ref.document, hit.ref.page, hit.score) for hit in seen.hits])
        conversation += step.messages
    said += [part for message in conversation for part in _words(message)]
    assert hashlib.sha256(repr(said).encode()).hexdigest()[:32] == SAID
    images = [part for message in conversation for part in message.parts if isinstance(part, ImagePart)]
    assert len(images) == 3
    for part in images:
        assert part.image.tobytes() == render(store.image(part.view.page_id), part.view).tobytes()


def _words(message: Message) -> list[object]:
    return [message.role, *(p if isinstance(p, str) else _where(p) for p in message.parts)]


def _where(part: ImagePart) -> object:
    view = part.view
    return view.page_id, view.region.as_tuple(), view.width, view.height, part.image.size, part.image.mode
