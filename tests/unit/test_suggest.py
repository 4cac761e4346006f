"""Suggestions for names that aren't known."""

from vrag.suggest import did_you_mean, nearest


def test_the_nearest_name_is_suggested_and_nothing_far() -> None:
    assert nearest("vargh", ["vrag", "react"]) == "vrag"
    assert nearest("zzz", ["vrag", "react"]) is None
    assert nearest("evil", ["eval"], cutoff=0.8) is None


def test_without_a_near_name_something_else_is_said() -> None:
    assert did_you_mean("recat-text", ["react-text"], "there is none") == "did you mean react-text?"
    assert did_you_mean("zzz", ["react-text"], "there is none") == "there is none"
