"""Each `vrag …` that README.md, docs and benchmarks show is one that the command line takes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand

from tests.documentation import ROOT, SHELLS, Block, blocks, commands, documents, spans
from vrag.cli import VERBS, _command, main

PAGES = [file for file in documents() if file.name != "CHANGELOG.md"]  # of versions that had other options
NAMES = [str(file.relative_to(ROOT)) for file in PAGES]


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read their arguments, and do nothing."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda self, ctx: None)


@pytest.mark.usefixtures("only_parse")
@pytest.mark.parametrize("file", PAGES, ids=NAMES)
def test_every_command_parses(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(file):
        for args in commands(block) if block.language in {*SHELLS, ""} else []:
            assert main(args) == 0, f"{block}: vrag {' '.join(args)}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("file", PAGES, ids=NAMES)
def test_every_command_in_a_sentence_has_its_verb_and_its_options(file: Path) -> None:
    for words in (span.split() for span in spans(file, "vrag ")):
        known, command = options_of(words[1:])
        assert command is not None, f"{file.name}: no verb in `{' '.join(words)}`"
        for word in words:
            option = word.partition("=")[0].rstrip(".,;")
            assert not option.startswith("-") or option in known, f"{file.name}: {option} in `{' '.join(words)}`"


# of make, pytest, pip, vLLM and the benchmarks' own scripts
OTHERS = {"--full", "--no-deps", "--limit-mm-per-prompt", "--reasoning-parser", "--quick", "--smoke"}


def test_every_option_that_is_named_alone_is_one_of_some_command() -> None:
    known = {"--help"} | OTHERS
    waiting: list[Any] = [_command(list(VERBS))]
    while waiting:
        command = waiting.pop()
        known.update(option for one in command.params for option in (*one.opts, *one.secondary_opts))
        waiting += getattr(command, "commands", {}).values()
    named = {(file.name, re.split(r"[ =.,;]", span)[0]) for file in PAGES for span in spans(file, "--")}
    assert {(name, option) for name, option in named if option not in known} == set() and len(named) > 50


@cache
def tree(verb: str) -> Any:
    return _command([verb])


def options_of(words: list[str]) -> tuple[set[str], Any]:
    """The options of the command that `words` begin with, and the command; None for no verb."""
    if words[0] not in VERBS:
        return {"--help", "--version"}, words[0] if words[0] in {"VERB", "…", "--help", "--version"} else None
    command: Any = tree(words[0])
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    command = getattr(command, "commands", {}).get("answers", command)  # `vrag eval …` without a subcommand
    return {"--help", *(option for one in command.params for option in (*one.opts, *one.secondary_opts))}, command


@pytest.mark.usefixtures("only_parse")
@pytest.mark.parametrize(
    "line",
    [
        "vrag serach daemon --corpus manuals",
        "vrag search daemon --corpus manuals --bye text",
        "$ vrag search daemon --corpus manuals -k many",
        "vrag search --corpus manuals",
        "PYTHONPATH=. vrag train rl --out runs/rl --model tiny",
        "pip install 'vrag[serve]' && vrag app --corpora reports",
        "vrag eval --corpus c --tasks t.jsonl \\\n  --out runs/x --jugde URL",
    ],
)
def test_a_wrong_command_does_not(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    [args] = commands(Block(PAGES[0], 1, "sh", None, f"{line}  # a comment with vrag in it\n"))
    assert main(args) == 2 and capsys.readouterr().err


def test_what_a_shell_makes_of_a_line_is_left_to_it() -> None:
    text = 'cd x && A=1 vrag ask "What\'s it?" --corpus c > out  # why\nvrag: an error\nls vrag\nvrag demo | tee log\n'
    found = list(commands(Block(PAGES[0], 1, "sh", None, text)))
    assert found == [["ask", "What's it?", "--corpus", "c"], ["demo"]]
