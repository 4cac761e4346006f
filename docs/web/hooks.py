"""mkdocs' hooks: files of the repository that lie outside of docs/ become pages too, under their own paths, and links
between the two are made to fit. So everything is written once, and its links work on a code host as well.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

SHIM = "https://unpkg.com/iframe-worker/shim"  # what the theme would load for searching from the disk; ours does it
OWN_SHIM = "web/file-worker.js"
_OUTER = re.compile(r"<(?:script|img|iframe|link|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/*/README.md",
    "src/vrag/models/*/README.md",
)
ICON = ROOT / "src/vrag/app/web/static/icon.svg"
_LINK = re.compile(r"(\]\()([^()\s]+)(\))|(src=\")([^\"]+)(\")")
_CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def outside() -> list[str]:
    """The pages that aren't in docs/, by their paths in the repository."""
    return sorted(str(file.relative_to(ROOT)) for pattern in PAGES for file in ROOT.glob(pattern))


def in_site(path: str) -> str:
    """Where the site has a file of the repository: docs/ is its root, other folders keep their names. The README of a
    benchmark or a model is a page beside the others, not the head of a section.
    """
    path = re.sub(r"^benchmarks/(\w+)/README\.md$", r"benchmarks/\1.md", path)
    return re.sub(r"^src/vrag/models/([\w-]+)/README\.md$", r"cards/\1.md", path).removeprefix("docs/")


def in_repository(uri: str, pages: list[str]) -> str:
    return next((page for page in pages if in_site(page) == uri), f"docs/{uri}")


def moved(text: str, source: str, pages: list[str]) -> tuple[str, list[str]]:
    """The markdown of the page at `source`, in the repository, with links as the site needs them; and the files that it
    links to and that are no pages.
    """
    files: list[str] = []

    def link(match: re.Match[str]) -> str:
        before, target, after = (part for part in match.groups() if part is not None)
        path, mark, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if (ROOT / found).is_dir():
            found = f"{found}/README.md"
        if not found.startswith("docs/") and found not in pages:
            files.append(found)
        there = posixpath.relpath(in_site(found), posixpath.dirname(in_site(source)) or ".")
        return f"{before}{there}{mark}{anchor}{after}"

    parts = _CODE.split(text)
    return "".join(part if at % 2 else _LINK.sub(link, part) for at, part in enumerate(parts)), files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for page in outside():
        files.append(File.generated(config, in_site(page), abs_src_path=str(ROOT / page)))
    files.append(File.generated(config, ICON.name, abs_src_path=str(ICON)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    from mkdocs.structure.files import File

    pages = outside()
    text, others = moved(markdown, in_repository(page.file.src_uri, pages), pages)
    for other in others:
        if files.get_file_from_path(other) is None and (ROOT / other).is_file():
            files.append(File.generated(config, other, abs_src_path=str(ROOT / other)))
    return text


def inner(html: str, name: str, shim: str) -> str:
    """The page `name` with the search's own script. Raises `ValueError` for what it would load from elsewhere."""
    html = html.replace(SHIM, shim)
    if found := _OUTER.search(html):
        raise ValueError(f"{name} loads something from elsewhere: {found[0]}")
    return html


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    from mkdocs.utils import get_relative_url

    return inner(output, page.file.src_uri, get_relative_url(OWN_SHIM, page.url))


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    return inner(output, template_name, f"/{OWN_SHIM}") if template_name.endswith(".html") else output
