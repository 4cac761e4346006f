"""The notebooks of the documentation, run as Jupyter runs them."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def printed(cell: Any) -> str:
    """What stands under a cell, as text."""
    return "\n".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs)


def pictures(cell: Any) -> list[Image.Image]:
    found = [output["data"].get("image/png") for output in cell.outputs if "data" in output]
    return [Image.open(BytesIO(base64.b64decode(png))) for png in found if png]


@pytest.fixture
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jupyter's own files stay out of the home of the user who runs the tests."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.usefixtures("own_folders")
def test_the_quickstart_indexes_searches_asks_shows_the_evidence_and_measures(tmp_path: Path):
    book = nbformat.read(FOLDER / "quickstart.ipynb", as_version=4)
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    text = "\n".join(printed(cell) for cell in cells)
    assert "4 documents," in text and " 0 failures" in text and "12 questions" in text
    assert "- right: True" in text and "see    crop" in text and "right answers" in text
    page, crop = [picture for cell in cells for picture in pictures(cell)]
    assert page.width > 300 and crop.width > 10 and crop.height < page.height
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_a_notebook_is_kept_without_outputs(path: Path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert [cell.execution_count for cell in book.cells if cell.cell_type == "code" and cell.outputs] == []
    assert {cell.execution_count for cell in book.cells if cell.cell_type == "code"} == {None}
