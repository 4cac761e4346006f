"""What the environment says in words: versioned prompts and corrective messages.

A version is never edited once a model was trained on it; a change is a new name. Each prompt ends in the
question, after the first "Question: ", so that policies without a model can read it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from vrag.actions import ActionSpec, defuse
from vrag.types import Box, Page

_QUESTION = "Question: "

_REASON = (
    "Answer the question below. Each time you receive new information, first reason about it between <think> "
    "and </think>. "
)
_SEARCH = (
    "When you lack knowledge, query a search engine over document pages with <search> your query </search>; "
    "it shows you the best matching page that you have not seen yet as an image. You may search as often as "
    "you like. "
)
_SEARCH_TEXT = (
    "When you lack knowledge, query a search engine over document pages with <search> your query </search>; "
    "it shows you the text of the best matching page that you have not seen yet. You may search as often as you like. "
)
_CROP = (
    "Whenever you have been shown an image, you may look closer at a part of it by cropping it with "
    "<bbox>[x1, y1, x2, y2]</bbox>, where x1, y1 is the top left and x2, y2 the bottom right corner; you "
    "then see that region enlarged. "
)
_RELATIVE = (
    "The coordinates are whole numbers from 0 to 1000 over the image shown last: 0 is its left or top edge, 1000 its "
    "right or bottom edge. "
)
_FOUND = (
    "Answer the question below from document pages: a search engine is asked the question, and what it finds is shown "
    "to you. First reason about it between <think> and </think>. Then give the answer itself, without explanations, "
    "between <answer> and </answer>. For example, <answer> Beijing </answer>. "
)
_ANSWER = (
    "Take exactly one of these actions at a time. Once you need no further information, give the answer "
    "itself, without explanations, between <answer> and </answer>. For example, <answer> Beijing </answer>. "
)


@dataclass(frozen=True)
class Prompt:
    """Instructions before the question, and the actions that they teach."""

    instructions: str
    actions: frozenset[str]

    def text(self, question: str, more: Sequence[str] = ()) -> str:
        """`more` instructions follow its own; without any the model is one that can't read them."""
        added = "".join(f"{sentence} " for sentence in more) if self.instructions else ""
        return f"{self.instructions}{added}{_QUESTION}{question}"


PROMPTS: dict[str, Prompt] = {
    # the meaning of the paper's prompt (appendix), which its released checkpoint was trained on
    "vrag-v1": Prompt(_REASON + _SEARCH + _CROP + _ANSWER, frozenset({"search", "bbox", "answer"})),
    # the same without the crop: the paper's baseline that only searches
    "search-v1": Prompt(_REASON + _SEARCH + _ANSWER, frozenset({"search", "answer"})),
    # the paper's for models that write boxes in no frame of their own, and are told which one to write them in
    "vrag-1000-v1": Prompt(_REASON + _SEARCH + _CROP + _RELATIVE + _ANSWER, frozenset({"search", "bbox", "answer"})),
    # searches, and reads the text of pages instead of seeing them
    "search-text-v1": Prompt(_REASON + _SEARCH_TEXT + _ANSWER, frozenset({"search", "answer"})),
    # one search, made by the environment: retrieval-augmented generation without an agent
    "rag-v1": Prompt(_FOUND, frozenset({"answer"})),
    # for models too small to read instructions: what to do is in their weights
    "brief-v1": Prompt("", frozenset()),
}


def teaches_crop(prompt: str) -> bool:
    """Whether a prompt made here names the crop, or names no action at all."""
    instructions = prompt.partition(_QUESTION)[0]
    return not instructions.strip() or "<bbox>" in instructions


def question_of(prompt: str) -> str:
    """The question in a prompt made here."""
    return prompt.partition(_QUESTION)[2]


def invalid_action(reason: str, allowed: Iterable[ActionSpec]) -> str:
    """What was wrong with the last generation, and what may be written instead."""
    listed = ", ".join(action.form for action in allowed)
    return f"That was not a valid action: {reason}. Write <think>reasoning</think> and then one of {listed}."


def page_text(page: Page, limit: int, own: Collection[str] = ()) -> str:
    """A page as text: its name, and at most `limit` characters of what stands on it, without tags of the grammar or of
    actions of one's `own`.
    """
    text = page.text.strip() or "(this page has no text)"
    text = text if len(text) <= limit else f"{text[:limit]} […]"
    return defuse(f"{page.ref.document}, page {page.ref.page}:\n{text}", own)


NO_IMAGE = "there is no image to crop yet; search first"
NOTHING_FOUND = "No page matches this query. Search with other words, or answer with what you know."
NO_PAGE = "No page matches the question. Answer with what you know."
ALL_SEEN = "You have seen every page that this query finds. Search with other words, or answer."


def outside(box: Box, width: int, height: int) -> str:
    corners = ", ".join(f"{edge:g}" for edge in box.as_tuple())
    return f"the box [{corners}] is outside the image, which spans [0, 0, {width}, {height}]"


INVERTED = "the box is empty: x2 must be larger than x1, and y2 larger than y1"
