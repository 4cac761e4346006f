"""tantivy's index of page text, alone."""

from pathlib import Path

import pytest

pytest.importorskip("tantivy")

from vrag.index.tantivy_text import State, TantivyText


def state(change: int) -> State:
    return State(catalogue="c", change=change, tokens=1)


def test_a_commit_that_was_killed_can_be_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    with TantivyText.create(folder).writing() as changes:
        for row in range(1, 6):
            changes.put(row, "a.pdf", f"amber {row}")
        changes.commit(state(1))
    before = (folder / "meta.json").read_bytes()

    def remove() -> None:
        with TantivyText.open(folder).writing() as changes:
            changes.remove(2)
            changes.commit(state(2))

    remove()
    (folder / "meta.json").write_bytes(before)  # as if the kill came between the files of a commit and this one
    assert TantivyText.open(folder).state == state(1)
    remove()
    after = TantivyText.open(folder)
    assert after.state == state(2) and sorted(hit.rowid for hit in after.search("amber", 9)) == [1, 3, 4, 5]
