"""What `make install`, `make demo` and `make test` would install, in whatever order they are called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def steps(target: str, venv: Path) -> str:
    """The commands that make would run."""
    command = ["make", "--dry-run", "--no-print-directory", f"VENV={venv}", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """One in which `make install` has run."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()
    (tmp_path / ".installed-own").touch()
    return tmp_path


def test_installing_for_own_documents_takes_no_torch_and_is_done_once(venv: Path, tmp_path: Path) -> None:
    fresh = steps("install", tmp_path / "fresh")
    assert "'.[serve,ocr]'" in fresh and "torch==" not in fresh
    assert "pip install" not in steps("install", venv)


def test_the_demo_and_the_tests_install_what_they_need_after_it(venv: Path) -> None:
    assert "torch==" in steps("demo", venv) and "[models,synthetic]" in steps("demo", venv)
    assert "--group dev" in steps("test", venv) and "torch==" in steps("test", venv)
    (venv / ".installed").touch()
    assert "pip install" not in steps("demo", venv)
