"""A made-up trace of tokens, as training keeps it, with everything that can be in one."""

from __future__ import annotations

from vrag.training.token_trace import Observed, Pads, Sampled, TokenTrace, Update
from vrag.types import PageRef

MARKUP = "</script><img src=x onerror=\"document.title='pwned'\">"


def make_trace(advantage: float | None = -1.25, text: str = "Question: what?", turns: int = 2) -> TokenTrace:
    """Each turn has five tokens: a plain one, one whose upper bound acted, a line's end, and a character in two."""
    page = PageRef(document="report.pdf", page=3)
    update = Update(
        logprobs=[-0.1, -2.0, -0.5, -3.0, None],
        ratios=[1.0, 1.35, 0.99, 1.0, None],
        entropy=[0.2, 1.5, 0.75, 2.5, None],
        clipped=[0, 1, 0, 0, 0],
    )
    spans: list[Observed | Pads | Sampled] = [Observed(pieces=["<|im_start|>user\n", *text])]
    for turn in range(turns):
        written = Sampled(
            pieces=["<think>", f"turn{turn + 1}", ".\n", "", "é"],
            logprobs=[-0.1, -2.3, -0.5, -3.0, -0.25],
            update=update if advantage else None,
        )
        spans += [written, Observed(pieces=["<|im_end|>"]), Pads(ref=page, crop=turn > 0, count=240)]
    return TokenTrace(advantage=advantage, spans=spans)
