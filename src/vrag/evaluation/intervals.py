"""How sure a measured number is: 95 % intervals and the comparison of two runs on the same questions.

Questions are the unit: several samples of one question are one draw, so that more seeds never look like more
questions. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import comb, sqrt
from typing import Literal

import numpy as np

from vrag.types import Frozen

Z95 = 1.959963984540054
# Added before resampling, each value with its weight: where all questions agree, plain resampling would be certain.
SHARE_PRIOR = {0.0: 2.0, 1.0: 2.0}  # Agresti & Coull 1998
DIFFERENCE_PRIOR = {-1.0: 0.5, 0.0: 1.0, 1.0: 0.5}  # Agresti & Min 2005: half a pair in each of the four cells
RESAMPLES = 4000
FLIPS = 20_000


class Interval(Frozen):
    """A mean with its 95 % interval. `n` counts what was averaged: questions, or turns."""

    value: float
    low: float
    high: float
    n: int
    method: Literal["wilson", "bootstrap"]


def percent(value: float) -> str:
    """A share, for people."""
    return f"{100 * value:.1f} %"


Test = Literal["mcnemar", "sign-flip"]


class Difference(Frozen):
    """Run b minus run a over the questions that both scored; `p` is two-sided under exchange of the runs, by `test`:
    McNemar's exact test, or what it becomes for means over several samples, random flips of signs.
    """

    value: float
    low: float
    high: float
    p: float
    test: Test
    n: int
    better: int  # questions on which b is better
    worse: int


def wilson(successes: float, n: int) -> Interval | None:
    """Wilson's score interval of a share (Wilson 1927); None when nothing was counted."""
    if n == 0:
        return None
    share = successes / n
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    low = max(0.0, middle - half) if successes > 0 else 0.0  # exactly, which floats would miss
    high = min(1.0, middle + half) if successes < n else 1.0
    return Interval(value=share, low=low, high=high, n=n, method="wilson")


def bootstrap(values: Sequence[float], seed: int = 0, prior: Mapping[float, float] | None = None) -> Interval | None:
    """Percentile bootstrap of the mean of one value per question, and of the weighted values of a `prior`."""
    if not values:
        return None
    value = float(np.mean(values))
    low, high = _bounds(values, prior or {}, seed)
    return Interval(value=value, low=min(low, value), high=max(high, value), n=len(values), method="bootstrap")


def mean_by_question(scores: Mapping[str, Sequence[float]]) -> Interval | None:
    """Mean over questions of the mean over each one's samples.

    Wilson's interval when each question has one sample that is right or wrong, the bootstrap otherwise.
    """
    means = [float(np.mean(samples)) for samples in scores.values() if samples]
    is_share = {value for samples in scores.values() for value in samples} <= {0.0, 1.0}
    if is_share and all(len(samples) == 1 for samples in scores.values()):
        return wilson(sum(means), len(means))
    return bootstrap(means, prior=SHARE_PRIOR if is_share else None)


def compare(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> Difference | None:
    """Paired comparison by question of b with a; None when they share no question."""
    shared = sorted(key for key in a.keys() & b.keys() if a[key] and b[key])
    if not shared:
        return None
    delta_Q = np.asarray([np.mean(b[key]) - np.mean(a[key]) for key in shared], dtype=np.float64)
    value = float(delta_Q.mean())
    low, high = _bounds(delta_Q.tolist(), DIFFERENCE_PRIOR)
    return Difference(
        value=value,
        low=min(low, value),
        high=max(high, value),
        p=sign_flip_p(delta_Q.tolist()),
        test="mcnemar" if _equally_large(delta_Q[delta_Q != 0.0]) else "sign-flip",
        n=len(shared),
        better=int((delta_Q > 0).sum()),
        worse=int((delta_Q < 0).sum()),
    )


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> float:
    """P(|sum| at least as large) when each difference could as well have the other sign.

    Exact when all differences are equally large, which is McNemar's exact test for right and wrong; otherwise
    estimated from random flips, counting the observed one so that p is never 0.
    """
    nonzero_D = np.asarray([d for d in differences if d != 0.0])
    count = len(nonzero_D)
    if count == 0:
        return 1.0
    if _equally_large(nonzero_D):
        smaller = int(min((nonzero_D > 0).sum(), (nonzero_D < 0).sum()))
        tail = sum(comb(count, k) for k in range(smaller + 1)) / 2**count
        return min(1.0, 2 * tail)
    generator, observed, extreme = np.random.default_rng(seed), abs(nonzero_D.sum()) - 1e-12, 0
    for size in _blocks(FLIPS, count):
        signs_FD = generator.choice(np.array([-1.0, 1.0]), size=(size, count))
        extreme += int((np.abs(signs_FD @ nonzero_D) >= observed).sum())
    return (extreme + 1) / (FLIPS + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for how many there are (Holm 1979): each below 0.05 holds at once with 95 % confidence."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for done, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p))
        corrected[name] = highest
    return corrected


def _equally_large(nonzero_D: np.ndarray) -> bool:
    return len(nonzero_D) == 0 or bool(np.allclose(np.abs(nonzero_D), abs(nonzero_D[0])))


def _bounds(values: Sequence[float], prior: Mapping[float, float], seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of the means of RESAMPLES draws with replacement, each of as many values as weigh one in all."""
    values_V = np.asarray([*values, *prior], dtype=np.float64)
    weights_V = np.asarray([1.0] * len(values) + list(prior.values()))
    generator, count = np.random.default_rng(seed), round(weights_V.sum())
    shares = weights_V / weights_V.sum() if prior else None
    means = [
        generator.choice(values_V, size=(size, count), p=shares).mean(axis=1) for size in _blocks(RESAMPLES, count)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Split `draws` rows of `width` numbers so that memory stays small for any number of questions."""
    block = max(1, 2_000_000 // width)
    for start in range(0, draws, block):
        yield min(block, draws - start)
