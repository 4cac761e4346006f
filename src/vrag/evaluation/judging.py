"""What a judge said and cost: pure functions of episodes, of which each holds its own judgement."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from vrag.episode import EpisodeRecord
from vrag.evaluation.intervals import Interval, mean_by_question
from vrag.rewards.answer import rule_reward
from vrag.types import Frozen, Usage


class Judging(Frozen):
    """`judged` = right + wrong + unscored; of them `by_rules` needed no model, `cached` were known, and a model was
    asked about `asked`, in `calls` requests. `agreement`: share of the verdicts that are the rules' own.
    """

    judged: int
    right: Interval | None
    unscored: int
    by_rules: int
    cached: int
    asked: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    agreement: Interval | None
    only_judge: int  # answers that the judge takes and the rules don't
    only_rules: int


def judging(records: Sequence[EpisodeRecord]) -> Judging | None:
    """None where there was no judge. What a call cost is counted with the attempt that is on record."""
    pairs = [(record, record.judgement) for record in records if record.judgement is not None]
    if not pairs:
        return None
    said = [judgement for _, judgement in pairs]
    by = Counter(judgement.by for judgement in said)
    verdicts = [
        (record.task.id, judgement.right, rule_reward(record.answer, record.task.answers).correct)
        for record, judgement in pairs
        if judgement.right is not None
    ]
    return Judging(
        judged=len(pairs),
        right=_share([(question, judge) for question, judge, _ in verdicts]),
        unscored=len(pairs) - len(verdicts),
        by_rules=by["rules"],
        cached=by["cache"],
        asked=by["model"],
        calls=sum(judgement.calls for judgement in said),
        prompt_tokens=sum(judgement.prompt_tokens for judgement in said),
        completion_tokens=sum(judgement.completion_tokens for judgement in said),
        agreement=_share([(question, judge == rules) for question, judge, rules in verdicts]),
        only_judge=sum(judge and not rules for _, judge, rules in verdicts),
        only_rules=sum(rules and not judge for _, judge, rules in verdicts),
    )


def cost(spent: Judging | Usage) -> str:
    """Requests, tokens in + out, and the cost where there are prices, for a table."""
    money = f", cost {spent.cost:.4g}" if isinstance(spent, Usage) and spent.cost is not None else ""
    return f"{spent.calls}, {spent.prompt_tokens} + {spent.completion_tokens}{money}"


def cost_each(spent: Judging | Usage, episodes: int) -> str:
    """The same as means over `episodes`."""
    prompt, completion = spent.prompt_tokens / episodes, spent.completion_tokens / episodes
    return f"{spent.calls / episodes:.1f}, {prompt:.0f} + {completion:.0f}"


def _share(flags: Sequence[tuple[str, bool]]) -> Interval | None:
    """Of the true ones, over questions."""
    by_question: defaultdict[str, list[float]] = defaultdict(list)
    for question, flag in flags:
        by_question[question].append(float(flag))
    return mean_by_question(by_question)
