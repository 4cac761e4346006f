"""README.md and docs/*.md as the tests of the documentation read them: fenced blocks, commands, links, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTEND = ROOT / "docs" / "extend.md"
SHELLS = {"sh", "console"}
OUTPUT = "text"  # the language of a block that holds what the Python block before it prints
_FENCE = re.compile(r"^( *)```+ *(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]+)\")? *$")


def documents() -> list[Path]:
    """What people read: of the repository's root, of docs, and of each benchmark."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("benchmarks/*/*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    file: Path
    line: int
    language: str
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks(file: Path) -> list[Block]:
    """All fenced blocks of a file, in order; a fence that is never closed is an error."""
    found: list[Block] = []
    opened: tuple[int, re.Match[str]] | None = None
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened = number + 1, fence
        elif opened is not None and line.strip() == "```":
            start, head = opened
            indent = len(head[1])
            text = "".join(f"{inner[indent:]}\n" for inner in lines[start:number])
            found.append(Block(file, start + 1, head["language"], head["title"], text))
            opened = None
    assert opened is None, f"{file}:{opened and opened[0]}: this fence isn't closed"
    return found


def prose(file: Path) -> str:
    """Without fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(block: Block) -> Iterator[list[str]]:
    """The arguments of each `vrag …` in a block of commands, with or without a prompt, variables and other commands."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip() if block.language in SHELLS else line  # else it may be output, whose columns are indented
        if not re.match(r"^(\$ )?(.*&& *)?([A-Z_]+=\S* +)*vrag ", line):
            continue
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        yield from _of_vrag(list(lexer))


def _of_vrag(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if re.fullmatch(r"[&|;<>]+", word):
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                command.pop(0)
            if command[:1] == ["vrag"]:
                yield command[1:]
            command = []
        else:
            command.append(word)


def spans(file: Path, begin: str) -> list[str]:
    """The code spans within sentences that begin so."""
    found = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(file))]
    return [span for span in found if span.startswith(begin)]
