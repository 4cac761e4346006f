"""The page of models."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_card_that_ships_is_linked_from_the_page_of_models() -> None:
    page = (ROOT / "docs/cards.md").read_text("utf-8")
    cards = [str(card.relative_to(ROOT)) for card in ROOT.glob("src/vrag/models/*/README.md")]
    assert len(cards) == 3 and all(f"](../{card})" in page for card in cards)
