"""A planner, a grounder and a judge behind one chat server, that know how to play the small world of `trajectories`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.chats import FALSE, TRUE, Answer, Asked, says
from vrag.chat import Chat
from vrag.data.construct import ConstructConfig, Construction, Experts, World
from vrag.data.dataset import Manifest, TrajectoryWriter
from vrag.data.replies import RememberedChat, Replies
from vrag.environment import EnvironmentConfig
from vrag.geometry import Frame
from vrag.protocols import Retriever
from vrag.rewards.judge import opened
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Box, Task
from vrag.views import ViewRenderer

LOOKS = {"the number of the plant": "42", "the output": "48", "the staff": "310"}
TWO = [
    "<think>which plant?</think><search>acme corp plants</search>",
    "<think>a list</think><look>the number of the plant</look>",
    "<think>it is 42</think><search>plant 42 output</search>",
    "<think>small print</think><look>the output</look>",
    "<think>it is 48</think><answer>48</answer>",
]
ONE = [
    "<think>find it</think><search>plant 42 staff</search>",
    "<think>small print</think><look>the staff</look>",
    "<think>it is 310</think><answer>310</answer>",
]


@dataclass
class Teachers:
    """Tells by the model's name who is asked. `scripts`: what the planner says in each turn, by task; the grounder
    draws the exact box of what is sought, in `frame`; the judge accepts answers that begin with the reference.
    """

    store: MemoryStore
    scripts: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"two": TWO, "one": ONE})
    frame: Frame = "absolute"

    def __call__(self, asked: Asked) -> None:
        said = {"planner": self.planned, "grounder": self.grounded, "judge": self.judged}[asked.body["model"]]
        says(said(asked.body["messages"]))(asked)

    def planned(self, messages: list[dict[str, Any]]) -> str:
        name = "two" if "output of the plant" in messages[0]["content"] else "one"
        return self.scripts[name][sum(message["role"] == "assistant" for message in messages)]

    def grounded(self, messages: list[dict[str, Any]]) -> str:
        box = self.gold(case(messages)["wants_to_see"])
        width, height = (1000, 1000) if self.frame == "relative1000" else images(messages)[0].size
        return json.dumps([{"bbox_2d": list(box.scaled(width, height).as_tuple()), "label": "here"}])

    def judged(self, messages: list[dict[str, Any]]) -> str:
        data = messages[0]["content"]
        asked = json.loads(data[data.index("{") : data.rindex("}") + 1])
        if "week" in asked["question"]:
            return TRUE if "seven" in asked["given_answer"] else FALSE
        return TRUE if asked["given_answer"].startswith(asked["reference_answers"][0]) else FALSE

    def gold(self, sought: str) -> Box:
        """Relative to the page, which is what every look here is at."""
        word = LOOKS[sought]
        page = next(p for p in self.store.pages.values() if p.ref.document == "acme.pdf" and word in p.text.split())
        if word == "42":
            page = next(p for p in self.store.pages.values() if p.ref.document == "acme.pdf" and p.ref.page == 1)
        return self.store.box(page, word)


def case(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What a grounder is told."""
    text = messages[0]["content"][1]["text"]
    return json.loads(text[text.index("{") : text.index("}") + 1])


def images(messages: list[dict[str, Any]]) -> list[Image.Image]:
    """Those that a request shows."""
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def faulty(answer: Answer, fault: Answer, every: int) -> Answer:
    """`fault` in place of every so-many-th answer."""
    counted = iter(range(1, 1_000_000))
    return lambda asked: (fault if next(counted) % every == 0 else answer)(asked)


def small(environment: EnvironmentConfig) -> EnvironmentConfig:
    """With images that cost no time."""
    view = environment.view.model_copy(update={"min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 40})
    return environment.model_copy(update={"view": view})


def settings(url: str, **more: Any) -> ConstructConfig:
    patience = {"url": url, "timeout": 5.0, "total": 10.0}
    sizes: dict[str, dict[str, Any]] = {"grounder": {"min_pixels": 28 * 28 * 4, "max_pixels": 28 * 28 * 80}}
    models = {
        who: {"model": who, **patience, **sizes.get(who, {}), **(more.pop(who, None) or {})}
        for who in ("planner", "grounder", *(["judge"] if "judge" in more else []))
    }
    return ConstructConfig.model_validate({**models, "concurrency": 1, **more})


def construct(
    folder: Path,
    config: ConstructConfig,
    store: MemoryStore,
    tasks: Sequence[Task],
    environment: EnvironmentConfig,
    retriever: Retriever | None = None,
) -> Manifest:
    """As the command does it; also continues one."""
    run = RunDir.open(folder, config)
    world = World(store, retriever or WordRetriever(store), environment, ViewRenderer(store))
    assert config.planner is not None and config.grounder is not None
    with closing(Replies(folder / "replies.sqlite")) as replies, opened(config.judge) as judge:
        planner = RememberedChat(Chat(config.planner, what="planner"), "planner", replies)
        grounder = RememberedChat(Chat(config.grounder, what="grounder"), "grounder", replies)
        experts = Experts(planner, config.planner, grounder, config.grounder, judge)
        writer = TrajectoryWriter(run, environment, config.balance)
        return asyncio.run(Construction(config, world, experts, writer, replies).run(tasks))
