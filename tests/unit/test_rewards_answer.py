"""Answer correctness by rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.rewards.answer import anls, normalise, rule_reward, same_number, stands_in, token_f1
from vrag.rewards.numeric import quantity


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("Beijing", "beijing"),
        (" The Beijing. ", "Beijing"),
        ("ＢＥＩＪＩＮＧ", "beijing"),
        ("“Beijing”", "Beijing"),
        ("2020-11-03", "2020-11-03"),
        ("Straße", "STRASSE"),
        ("北京。", "北京"),
        ("The", "the"),
        ("10 m", "10m"),
        ("10m", "10 m"),
        ("?", "?"),
    ],
)
def test_spelling_does_not_matter(prediction: str, reference: str) -> None:
    score = rule_reward(prediction, [reference])
    assert score.exact and score.correct and score.score == 1.0


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("1,200", "1200"),
        ("1 200 000", "1,200,000"),
        ("1.2k", "1200"),
        ("1.2 million", "1,200,000"),
        ("$3.4bn", "3,400,000,000 USD"),
        ("45%", "45 percent"),
        ("45%", "45"),
        ("about 45", "45"),
        ("The headcount is 4,812 people.", "4812"),
        ("−5", "-5"),
        ("-$5", "-5 dollars"),
        ("1.234,5", "1234.5"),
        ("0,5", "0.5"),
        ("45.0", "45"),
        ("１２００", "1200"),
        ("1200万元", "12,000,000"),
        ("约3亿", "300000000"),
        ("answer: 45", "45"),
        ("3 hrs", "3 hours"),
        ("3 hour", "3 hours"),
        ("3 minutes", "3 min"),
        ("10 metres", "10 m"),
        ("5 crore", "50,000,000"),
        ("5 hundred", "500"),
        ("45 in total", "45 %"),
        ("2 tonnes", "2 t"),
        ("$3.4 B", "$3.4 billion"),
        (">90 %", ">90%"),
        ("EUR 3.4 M", "3,400,000 euros"),
    ],
)
def test_the_same_quantity_in_another_spelling_is_right(prediction: str, reference: str) -> None:
    score = rule_reward(prediction, [reference])
    assert score.numeric and score.score == 1.0


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("4821", "4823"),
        ("4.5", "45"),
        ("-5", "5"),
        ("45%", "$45"),
        ("45 km", "45 kg"),
        ("12 or 45", "45"),
        ("June 2020", "May 2020"),
        ("2020-11-03", "2020"),
        ("Q3", "3"),
        ("A-45", "45"),
        ("5-7", "5"),
        ("1.2.3", "1.2.4"),
        ("10:45", "45"),
        ("3d", "3"),
        ("v2", "2"),
        ("45 years", "45 days"),
        ("3 months", "3 years"),
        ("2 weeks", "2 days"),
        ("2 hour", "2 minutes"),
        ("1 second", "1 hour"),
        ("5 meter", "5 km"),
        ("5 lb", "5 kg"),
        ("12 miles", "12 km"),
        ("12 inches", "12 cm"),
        ("30 tons", "30 kg"),
        ("20 million users", "20 million dollars"),
        ("3 parsecs", "3 km"),
        ("5 trn", "5"),
        ("5 crore", "5"),
        ("5 hundred", "5"),
        ("10 m", "10 million"),
        ("less than 5", "5"),
        ("not 5", "5"),
        ("at least 45", "45"),
        (">90%", "90%"),
    ],
)
def test_another_quantity_is_wrong_however_similar_its_digits(prediction: str, reference: str) -> None:
    score = rule_reward(prediction, [reference])
    assert not score.correct and score.score == 0.0


def test_tolerance_is_relative_and_off_by_default() -> None:
    assert not same_number("98", "100")
    assert same_number("98", "100", tolerance=0.05)
    assert not same_number("94", "100", tolerance=0.05)


def test_a_partial_match_of_words_earns_less_than_a_right_answer() -> None:
    score = rule_reward("Grand Hotel", ["Grand Hotel Vienna"])
    assert not score.correct and score.f1 == pytest.approx(0.8)
    assert 0 < score.score <= 0.5


def test_the_best_of_the_references_counts() -> None:
    assert rule_reward("NYC", ["New York", "NYC"]).score == 1.0


def test_han_characters_are_tokens() -> None:
    assert token_f1("北京市", "北京") == pytest.approx(0.8)


def test_anls_forgives_a_slip_and_nothing_more_than_half() -> None:
    assert anls("beijing", "beijin") == pytest.approx(6 / 7)
    assert anls("beijing", "paris") == 0.0
    assert anls("", "") == 1.0


@pytest.mark.parametrize("prediction", [None, "", "  ", "x" * 20_000])
def test_no_usable_answer_scores_zero(prediction: str | None) -> None:
    assert rule_reward(prediction, ["x"]).score == 0.0


@pytest.mark.parametrize("references", [[], [""], [" "]])
def test_without_a_reference_nothing_is_right(references: list[str]) -> None:
    assert rule_reward("", references).score == 0.0
    assert rule_reward("anything", references).score == 0.0


texts = st.text(max_size=60) | st.from_regex(r"[$€]?-?\d{1,4}([.,]\d{1,4}){0,3} ?(k|m|%|kg|万)?", fullmatch=True)


@given(texts, st.lists(texts, max_size=3), st.floats(0, 0.2))
def test_scores_are_finite_and_within_bounds_for_any_text(
    prediction: str, references: list[str], tolerance: float
) -> None:
    score = rule_reward(prediction, references, tolerance)
    assert 0 <= score.f1 <= 1 and 0 <= score.anls <= 1 and 0 <= score.score <= 1
    assert score.correct == (score.score == 1.0)


@given(texts.filter(lambda text: bool(text.strip())))
def test_the_gold_answer_itself_is_right(text: str) -> None:
    assert rule_reward(text, [text]).score == 1.0


def test_an_article_at_the_end_is_a_name() -> None:
    assert normalise("The Plan A.") == "plan a" != normalise("plan")


@given(st.text(alphabet="abc", max_size=12), st.text(alphabet="abc", max_size=12))
def test_anls_is_the_edit_distance(first: str, second: str) -> None:
    table = [[i + j if 0 in (i, j) else 0 for j in range(len(second) + 1)] for i in range(len(first) + 1)]
    for i, a in enumerate(first, start=1):
        for j, b in enumerate(second, start=1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
    similarity = 1 - table[-1][-1] / max(len(first), len(second), 1)
    assert anls(first, second) == pytest.approx(similarity if similarity >= 0.5 else 0.0)


def test_what_is_not_one_quantity_is_none() -> None:
    assert quantity("no number") is None
    assert quantity("1 and 2") is None
    assert quantity("9" * 5000) is None


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("The default line width is 0.5 bp; it can be changed.", "0.5 bp"),
        ("It opened in 1984.", "1984"),
        ("That was Ann-Marie (of the harbour).", "ann marie"),
        ("They sold 5, then 15.", "5"),
        ("About 1,200 in all", "1.2k"),
        ("首都是北京。", "北京"),
        ("Beijing", "Beijing"),
    ],
)
def test_a_gold_answer_stands_in_a_sentence(answer: str, reference: str) -> None:
    assert stands_in(answer, ["another", reference])


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("It is 15.", "5"),
        ("It is 0.5 bp.", "5"),
        ("It is 5.5 or 1,005.", "5"),
        ("It is -5.", "5"),
        ("The Annals", "Ann"),
        ("Ann and Marie", "Ann Marie"),
        ("anything", " "),
        ("x " * 6_000 + "5", "5"),
        ("", "5"),
        (None, "5"),
    ],
)
def test_a_part_of_a_word_or_number_is_not_the_gold_answer(answer: str | None, reference: str) -> None:
    assert not stands_in(answer, [reference])


SPELLINGS = [
    "42",
    "42 %",
    "It is 1.2k",
    "1,200",
    "1200",
    "Plan A",
    "the plan a",
    "a",
    "The",
    "?",
    "北京。",
    "北京",
    "-5",
]


@given(st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_what_is_right_by_rules_stands_in_the_answer(answer: str, reference: str) -> None:
    assert stands_in(answer, [reference]) or not rule_reward(answer, [reference]).correct


@pytest.mark.parametrize(("prediction", "reference"), [("C#", "C"), (">90%", "<90%"), ("≤ 5", "≥ 5")])
def test_a_sign_that_changes_the_meaning_is_read(prediction: str, reference: str) -> None:
    assert rule_reward(prediction, [reference]).score < 1.0
    assert rule_reward(prediction, [prediction]).score == 1.0
