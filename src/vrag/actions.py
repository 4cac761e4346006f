"""The action grammar: `<think>…</think>` and then exactly one of `<search>`, `<bbox>`, `<answer>`, or of one's own.

Compatible with the paper's released checkpoint (section 3.1): white space in and around tags and text outside
of them are allowed. Decided here, because the paper leaves it open:

- what stands inside a closed `<think>` is never an action; a `</think>` alone closes a thought that the
  chat template opened; a `<think>` that is never closed doesn't hide the action after it, but is no thought
  either;
- two actions, or one inside another, are an error: guessing which one was meant would train the policy to
  hedge;
- a missing thought is no error, only noted (`Parsed.has_think`).

Parsing is one pass over the tags, linear in the text, and never raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vrag.errors import UsageError
from vrag.types import Action, Answer, Box, Crop, Custom, Search


@dataclass(frozen=True)
class ActionSpec:
    """A declared action: its tag, how its content is read (ValueError with the reason), how it is written."""

    name: str
    parse: Callable[[str], Action]
    form: str


@dataclass(frozen=True)
class Parsed:
    """One generation, read. Exactly one of `action` and `error` is set; `error` is written for the policy."""

    thought: str
    action: Action | None
    error: str | None
    has_think: bool


def parse_search(content: str) -> Action:
    return Search(query=_text(content, "search"))


def parse_answer(content: str) -> Action:
    return Answer(text=_text(content, "answer"))


def parse_bbox(content: str) -> Action:
    """Four finite numbers, as a JSON list or separated by commas or spaces, in brackets or not."""
    help = "<bbox> needs exactly four numbers, as in <bbox>[x1, y1, x2, y2]</bbox>"
    text = content.strip()
    if text[:1] in ("[", "(") and text[-1:] in ("]", ")"):
        text = text[1:-1]
    parts = re.split(r"[,\s]+", text.strip()) if len(text) <= _MAX_BBOX else []
    if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise ValueError(help)
    try:
        x1, y1, x2, y2 = map(float, parts)
    except ValueError:  # such as "1.2.3"
        raise ValueError(help) from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise ValueError(help)
    return Crop(box=Box(x1=x1, y1=y1, x2=x2, y2=y2))


_MAX_BBOX = 200  # characters
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", re.ASCII)  # no "nan", no "1_000"


def _text(content: str, name: str) -> str:
    if not content.strip():
        raise ValueError(f"<{name}> is empty")
    return content.strip()


ACTIONS: dict[str, ActionSpec] = {
    "search": ActionSpec("search", parse_search, "<search>query</search>"),
    "bbox": ActionSpec("bbox", parse_bbox, "<bbox>[x1, y1, x2, y2]</bbox>"),
    "answer": ActionSpec("answer", parse_answer, "<answer>answer</answer>"),
}


def stop_tags(*own: str) -> tuple[str, ...]:
    """What a turn ends with, the first of these; `own`: names of actions of one's own."""
    return tuple(f"</{name}>" for name in (*ACTIONS, *own))


STOP_TAGS = stop_tags()


def custom(name: str) -> ActionSpec:
    """An action of one's own; its content is any text, also none. Raises `UsageError` for a name that is no new tag."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ACTIONS or name == "think":
        raise UsageError(f"{name!r} can't be the name of an action: take lower-case letters, and none of the grammar's")
    return ActionSpec(name, lambda content: Custom(name=name, content=content.strip()), f"<{name}>…</{name}>")


def parse(text: str, actions: Mapping[str, ActionSpec] = ACTIONS) -> Parsed:
    """Read one generation. A known action that isn't in `actions` is an error that names those which are."""
    split = _split(text, _tag_pattern(frozenset(actions)))
    thought = "\n".join(part.strip() for part in split.thoughts if part.strip())
    action, error = None, split.error
    if error is None:
        try:
            action = _action(split, actions)
        except ValueError as reason:
            error = str(reason)
    return Parsed(thought, action, error, has_think=bool(thought))


def render(action: Action, thought: str = "") -> str:
    """The text that `parse` reads back; no `<think>` when `thought` is empty.

    Raises `UsageError` for content that the grammar can't carry: empty, or with a tag of the grammar in it.
    """
    content = _content(action)
    tags = _tag_pattern(frozenset({action.name}))
    empty = not content.strip() and not isinstance(action, Custom)
    if empty or tags.search(content):
        raise UsageError(f"<{action.name}> can't carry {content[:80]!r}: it is empty or contains a tag")
    if tags.search(thought):
        raise UsageError(f"a thought can't contain a tag: {thought[:80]!r}")
    think = f"<think>{thought.strip()}</think>" if thought.strip() else ""
    return f"{think}<{action.name}>{content.strip()}</{action.name}>"


def complete(text: str, own: Collection[str] = ()) -> str:
    """`text` with its last action closed: a server that is told to stop at a closing tag leaves the tag out. `own`:
    names of actions of one's own, also below.
    """
    tags = list(_tag_pattern(frozenset(own)).finditer(text))
    opened = tags[-1]["name"] if tags and not tags[-1]["slash"] else "think"
    return text if opened == "think" else f"{text}</{opened}>"


def closed_at(text: str, own: Collection[str] = ()) -> int | None:
    """Where the first action in `text` ends, with its closing tag: what a model says after it is not asked for."""
    tags = _tag_pattern(frozenset(own)).finditer(text)
    return next((tag.end() for tag in tags if tag["slash"] and tag["name"] != "think"), None)


def defuse(text: str, own: Collection[str] = ()) -> str:
    """`text` with the tags of the grammar in brackets, so that what a page or a user says can be rendered."""
    return _tag_pattern(frozenset(own)).sub(r"[\g<slash>\g<name>]", text)


@dataclass
class _Split:
    """A generation cut at its tags."""

    thoughts: list[str] = field(default_factory=lambda: [])
    name: str = ""
    content: str = ""
    error: str | None = None


def _split(text: str, tags: re.Pattern[str]) -> _Split:
    """One pass over the tags; stops at the first error."""
    split = _Split()
    last_close = max((match.start() for match in _CLOSE_THINK.finditer(text)), default=-1)
    opened, start = "", 0  # the tag that is open and where its content starts
    for tag in tags.finditer(text):
        closes, name = bool(tag["slash"]), tag["name"]
        if opened:
            if closes and name == opened:
                _close(split, name, text[start : tag.start()])
                opened = ""
            elif opened != "think":
                split.error = f"<{opened}> isn't closed before {tag[0]}: write exactly one action"
                return split
        elif name == "think":
            if not closes and tag.start() < last_close:
                opened, start = name, tag.end()
            elif closes and not split.thoughts and not split.name:
                split.thoughts.append(text[: tag.start()])
        elif not closes and split.name:
            split.error = f"<{split.name}> and <{name}>: write exactly one action"
            return split
        elif not closes:
            opened, start = name, tag.end()
    if opened:
        split.error = f"<{opened}> isn't closed by </{opened}>"
    return split


def _close(split: _Split, name: str, content: str) -> None:
    if name == "think":
        split.thoughts.append(content)
    else:
        split.name, split.content = name, content


def _action(split: _Split, actions: Mapping[str, ActionSpec]) -> Action:
    """The declared action of a well-formed split; ValueError says why there is none."""
    allowed = ", ".join(f"<{name}>" for name in actions)
    if not split.name:
        raise ValueError(f"no action: write one of {allowed}")
    if split.name not in actions:
        raise ValueError(f"<{split.name}> can't be used here: write one of {allowed}")
    return actions[split.name].parse(split.content)


def _content(action: Action) -> str:
    match action:
        case Search():
            return action.query
        case Answer():
            return action.text
        case Crop():
            return f"[{', '.join(map(_number, action.box.as_tuple()))}]"
        case Custom():
            return action.content


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise UsageError(f"<bbox> can't carry {value}: coordinates are finite numbers")
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


_CLOSE_THINK = re.compile(r"<\s{0,3}/\s{0,3}think\s{0,3}>")


@lru_cache(maxsize=16)
def _tag_pattern(names: frozenset[str]) -> re.Pattern[str]:
    """Tags of the grammar; also built-in ones that aren't declared, so that the error can name them."""
    known = "|".join(sorted(map(re.escape, names | ACTIONS.keys() | {"think"})))
    return re.compile(rf"<\s{{0,3}}(?P<slash>/?)\s{{0,3}}(?P<name>{known})\s{{0,3}}>")
