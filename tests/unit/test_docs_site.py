"""What the site makes of the repository's pages, without building it: `make docs` does that."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from tests.documentation import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "web" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once(hooks: ModuleType) -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = re.findall(r"([\w./-]+\.md)$", nav, re.MULTILINE)
    inside = [str(file.relative_to(ROOT / "docs")) for file in ROOT.glob("docs/**/*.md")]
    assert sorted(listed) == sorted([*inside, *map(hooks.in_site, hooks.outside())])


def test_what_is_linked_as_a_page_is_one(hooks: ModuleType) -> None:
    """mkdocs stops at a page that only turns up when another is read."""
    pages = hooks.outside()
    for source in [*pages, *(str(file.relative_to(ROOT)) for file in ROOT.glob("docs/**/*.md"))]:
        _, files = hooks.moved((ROOT / source).read_text(encoding="utf-8"), source, pages)
        assert not [file for file in files if file.endswith(".md")], source


def test_links_between_docs_and_the_rest_are_made_to_fit(hooks: ModuleType) -> None:
    pages = hooks.outside()
    assert {"README.md", "SECURITY.md", "benchmarks/vector_index/README.md"} <= set(pages)
    for source, link, expected in (
        ("README.md", "docs/app.md#keys", "app.md#keys"),
        ("README.md", "docs/images/app.png", "images/app.png"),
        ("README.md", "docs/decisions", "decisions/README.md"),
        ("docs/ocr.md", "agents.md", "agents.md"),
        ("docs/ocr.md", "#here", "#here"),
        ("docs/ocr.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/doctor.md", "../benchmarks/vector_index", "benchmarks/vector_index.md"),
        ("docs/trust.md", "../SECURITY.md#promises", "SECURITY.md#promises"),
        ("docs/decisions/README.md", "../../CHANGELOG.md", "../CHANGELOG.md"),
        (
            "benchmarks/retrieval_tradeoffs/README.md",
            "../../docs/retrieval-evaluation.md",
            "../retrieval-evaluation.md",
        ),
    ):
        text = f"See [it]({link}), not `[it]({link})`\n```\n[it]({link})\n```\n"
        assert hooks.moved(text, source, pages) == (text.replace(f"({link}),", f"({expected}),"), []), (source, link)


def test_a_file_that_is_no_page_comes_along(hooks: ModuleType) -> None:
    text, files = hooks.moved("[rows](../src/vrag/evaluation/paper.csv)", "docs/evaluation.md", hooks.outside())
    assert (text, files) == ("[rows](src/vrag/evaluation/paper.csv)", ["src/vrag/evaluation/paper.csv"])


def test_a_page_of_the_site_is_found_again_in_the_repository(hooks: ModuleType) -> None:
    pages = hooks.outside()
    for path in (*pages, "docs/app.md", "docs/decisions/README.md"):
        assert hooks.in_repository(hooks.in_site(path), pages) == path


def test_nothing_is_loaded_from_elsewhere(hooks: ModuleType) -> None:
    kept = '<a href="https://arxiv.org/abs/1">x</a><link href="a.css"><script src="b.js"></script>'
    assert hooks.inner(f'{kept}<script src="{hooks.SHIM}">', "p", "own.js") == f'{kept}<script src="own.js">'
    for html in ('<script src="https://x.y/z.js">', "<img src=//x.y/z.png>", '<link rel=a href="http://x.y/z.css">'):
        with pytest.raises(ValueError, match="p loads something from elsewhere"):
            hooks.inner(html, "p", "own.js")
