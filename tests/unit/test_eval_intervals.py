import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.evaluation.intervals import bootstrap, compare, holm, mean_by_question, sign_flip_p, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # the score interval solved for p in (x - np)^2 = z^2 n p (1 - p), to four places
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_matches_published_values(right: int, n: int, low: float, high: float) -> None:
    interval = wilson(right, n)
    assert interval is not None
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(n=st.integers(1, 500), data=st.data())
def test_wilson_solves_the_score_equation(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    interval = wilson(right, n)
    assert interval is not None
    assert 0 <= interval.low <= interval.value + 1e-12 and interval.value - 1e-12 <= interval.high <= 1
    for bound in (interval.low, interval.high):
        assert (right / n - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / n, abs=1e-7)


def test_nothing_counted_has_no_interval() -> None:
    assert wilson(0, 0) is None
    assert bootstrap([]) is None
    assert mean_by_question({}) is None


def test_the_bootstrap_covers_a_known_mean_about_95_times_in_100() -> None:
    generator = np.random.default_rng(3)
    intervals = [bootstrap(generator.normal(0.5, 0.2, size=60).tolist()) for _ in range(200)]
    covered = sum(interval is not None and interval.low <= 0.5 <= interval.high for interval in intervals)
    assert 178 <= covered <= 198


def test_more_seeds_of_the_same_questions_are_not_more_questions() -> None:
    answers = {f"q{i}": [float(i % 2)] for i in range(40)}
    once = mean_by_question(answers)
    thrice = mean_by_question({name: samples * 3 for name, samples in answers.items()})
    assert once is not None and thrice is not None
    assert (once.method, thrice.method) == ("wilson", "bootstrap")
    assert thrice.n == once.n == 40
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, abs=0.03)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_samples_that_all_agree_are_not_certain(right: float) -> None:
    once, thrice = (mean_by_question({f"q{i}": [right] * times for i in range(5)}) for times in (1, 3))
    assert once is not None and thrice is not None and once.value == thrice.value == right
    assert thrice.high - thrice.low > 0.3 and once.high - once.low > 0.3
    assert min(thrice.low, 1 - thrice.high) == pytest.approx(min(once.low, 1 - once.high), abs=0.15)


def test_several_seeds_cover_as_often_as_one() -> None:
    generator, share = np.random.default_rng(1), 0.93
    covered = 0
    for _ in range(200):
        answers = {str(i): [float(generator.random() < share)] * 3 for i in range(20)}
        interval = mean_by_question(answers)
        covered += interval is not None and interval.low <= share <= interval.high
    assert covered >= 178


def test_a_few_questions_that_all_get_better_prove_nothing() -> None:
    few = compare({str(i): [0.0] for i in range(3)}, {str(i): [1.0] for i in range(3)})
    many = compare({str(i): [0.0] for i in range(12)}, {str(i): [1.0] for i in range(12)})
    assert few is not None and few.p == 0.25 and few.low <= 0 and few.high == few.value == 1.0
    assert many is not None and many.p < 0.001 and many.low > 0.5


def test_the_plain_bootstrap_is_of_the_values_alone() -> None:
    values = [0.2, 0.4, 0.9, 1.0]
    drawn = np.random.default_rng(0).integers(0, 4, size=(4000, 4))
    low, high = np.quantile(np.asarray(values)[drawn].mean(axis=1), [0.025, 0.975])
    interval = bootstrap(values)
    assert interval is not None and (interval.low, interval.high) == (low, high)


def test_a_question_with_more_samples_weighs_the_same() -> None:
    interval = mean_by_question({"a": [1.0] * 9, "b": [0.0]})
    assert interval is not None and interval.value == 0.5


def test_right_and_wrong_are_compared_by_mcnemars_exact_test() -> None:
    differences = [1.0] * 9 + [-1.0] + [0.0] * 50
    assert sign_flip_p(differences) == pytest.approx(2 * (1 + 10) / 2**10)
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_uneven_differences_are_compared_by_random_flips() -> None:
    differences = [0.9, 0.5, 0.4, 0.3, 0.2]  # all of one sign: 2 of the 2^5 flips are as extreme
    assert sign_flip_p(differences) == pytest.approx(2 / 32, abs=0.01)


def test_runs_are_compared_on_the_questions_that_both_scored() -> None:
    before = {"a": [0.0], "b": [0.0], "c": [1.0], "only before": [1.0], "unscored": []}
    after = {"a": [1.0], "b": [1.0], "c": [0.0], "only after": [0.0], "unscored": [1.0]}
    difference = compare(before, after)
    assert difference is not None
    assert (difference.n, difference.better, difference.worse) == (3, 2, 1)
    assert difference.value == pytest.approx(1 / 3)
    assert difference.low <= difference.value <= difference.high


def test_runs_without_a_shared_question_are_not_compared() -> None:
    assert compare({"a": [1.0]}, {"b": [1.0]}) is None


def test_holm_corrects_the_smallest_most_and_keeps_the_order() -> None:
    corrected = holm({"a": 0.04, "b": 0.01, "c": 0.03})
    assert corrected == pytest.approx({"b": 0.03, "c": 0.06, "a": 0.06})
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0} and holm({"a": 0.2}) == {"a": 0.2} and holm({}) == {}
