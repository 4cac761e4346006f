"""Links of README.md, docs and benchmarks lead to files that are there, and to headings that they have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documentation import ROOT, documents, prose

_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?)\)")


def links(file: Path) -> list[str]:
    """Targets within the repository; not those in code."""
    found: list[str] = _LINK.findall(re.sub(r"`[^`\n]*`", "code", prose(file)))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(file: Path) -> list[str]:
    """What a heading is called in a link, as code hosts and the site make it."""
    headings = re.findall(r"^#+ +(.+?) *#*$", prose(file), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings]
    return [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain]


def broken(file: Path, root: Path = ROOT) -> list[str]:
    wrong: list[str] = []
    for target in links(file):
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        if not found.exists() or not found.is_relative_to(root):
            wrong.append(f"{target}: no such file")
        elif anchor and anchors(found).count(anchor) != 1:
            wrong.append(f"{target}: the file has {anchors(found).count(anchor)} headings of this name")
    return wrong


@pytest.mark.parametrize("file", documents(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    assert broken(file) == []


def test_a_link_that_does_not_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Two words, `code`\n## Twice\n## Twice\n")
    page = tmp_path / "a.md"
    page.write_text(
        "# Here\n[a](b.md) [b](#here) ![c](b.md#two-words-code) [d](https://x.y/z) `[e](no.md)`\n```\n[f](no.md)\n```\n"
        "[g](c.md) [h](b.md#two) [i](b.md#twice) [j](#there) [`k`](../../x.md)\n"
    )
    assert [one.partition(":")[0] for one in broken(page, tmp_path)] == [
        "c.md",
        "b.md#two",
        "b.md#twice",
        "#there",
        "../../x.md",
    ]


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, seen = [ROOT / "README.md"], set[Path]()
    while found:
        page = found.pop()
        if page in seen:
            continue
        seen.add(page)
        if page.is_dir():
            found += page.glob("*.md")
        elif page.suffix == ".md":
            found += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"]
    assert [str(file.relative_to(ROOT)) for file in ROOT.glob("docs/**/*.md") if file not in seen] == []
