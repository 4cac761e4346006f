"""Pages of several worlds, read as one collection."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("reportlab")
pytest.importorskip("torch")

from vrag.app.splits import SplitData
from vrag.app.tiny.material import Material
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import material, prepare
from vrag.errors import CorpusError

RECIPE = TinyRecipe(documents=4, questions=8, worlds=2, dpi=72)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SplitData, Material]:
    out = tmp_path_factory.mktemp("run")
    train = prepare(RECIPE, "train", out)
    return out, train, material(RECIPE, train, out)()


def test_all_worlds_are_seen_and_one_is_searched(run: tuple[Path, SplitData, Material]) -> None:
    _, train, seen = run
    documents = {page.ref.document for page in seen.pages}
    assert documents == {f"doc-{number:04d}.pdf" for number in range(1, 9)}
    assert {page.ref.document for page in train.corpus.pages()} == {f"doc-{number:04d}.pdf" for number in range(1, 5)}
    assert len(seen.tasks) == 2 * len(train.tasks)


def test_each_page_is_fetched_from_where_it_lies(run: tuple[Path, SplitData, Material]) -> None:
    _, train, seen = run
    own = set(train.corpus.page_ids())
    for mine in (True, False):
        page = next(page for page in seen.pages if (page.id in own) == mine and seen.store.words(page.id))
        assert seen.store.page(page.id) == page
        assert seen.renderer.page(page.id).size == (page.width, page.height)
    with pytest.raises(CorpusError):
        seen.store.page("none")


def test_one_world_is_the_train_split(run: tuple[Path, SplitData, Material]) -> None:
    out, train, _ = run
    alone = material(RECIPE.model_copy(update={"worlds": 1}), train, out)()
    assert alone.renderer is train.renderer
    assert [page.id for page in alone.pages] == [page.id for page in train.corpus.pages()]


def test_nothing_is_made_before_it_is_asked_for(run: tuple[Path, SplitData, Material], tmp_path: Path) -> None:
    _, train, _ = run
    material(RECIPE, train, tmp_path)
    assert list(tmp_path.iterdir()) == []
