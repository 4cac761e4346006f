"""The Python of the documentation: that of docs/extend.md runs and prints what it says; other imports what there is."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.documentation import EXTEND, OUTPUT, Block, blocks, commands, documents
from tests.papers import write_pdf
from tests.tiny import make_tiny, spec_of
from vrag.cli import main
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.errors import UsageError
from vrag.policies.load import save_policy
from vrag.policies.speaker import load_speaker
from vrag.rewards.combine import RewardWeights, paper_rubric
from vrag.scene import own_action
from vrag.testing import MemoryStore, WordRetriever

BLOCKS = blocks(EXTEND)
FILES = [block for block in BLOCKS if block.title]
PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.title]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the files that the page shows, to import from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = [Path(block.title or "").stem for block in FILES]
    for block in FILES:
        (tmp_path / str(block.title)).write_text(block.text, encoding="utf-8")
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


def shown(heading: str) -> list[list[str]]:
    """The commands under a heading of the page."""
    lines = EXTEND.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"## {heading}")
    end = next((n for n, line in enumerate(lines) if n > start and line.startswith("## ")), len(lines))
    return [args for block in BLOCKS if block.language == "sh" and start < block.line < end for args in commands(block)]


@pytest.mark.parametrize("block", [*FILES, *PROGRAMS], ids=str)
def test_an_example_is_short(block: Block) -> None:
    assert len(block.text.splitlines()) <= 30


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_an_example_prints_what_the_page_says(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    following = BLOCKS[BLOCKS.index(block) + 1]
    assert following.language == OUTPUT
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == following.text.splitlines()


def test_the_policy_with_an_action_of_its_own_is_loaded_by_its_name(folder: Path) -> None:
    ask, evaluate = shown("An action")
    (name,) = {args[args.index("--policy") + 1] for args in (ask, evaluate)}
    store = MemoryStore()
    speaker = load_speaker(name)(store)
    DocumentEnvironment(store, WordRetriever(store), speaker.config, actions=speaker.actions)
    assert [action.name for action in speaker.actions] == ["find"] and speaker.codec is None


def test_the_reward_terms_are_loaded_by_their_names(folder: Path) -> None:
    (train,) = shown("A reward term")
    setting, _, names = train[train.index("--set") + 1].partition("=")
    rubric = paper_rubric(RewardWeights(terms=tuple(ast.literal_eval(names))))
    assert setting == "rewards.terms" and [term.name for term in rubric.terms][3:] == ["looked", "brevity"]


def test_the_action_is_trained_with_by_its_name(folder: Path) -> None:
    (train,) = shown("Training with an action")
    setting, _, names = train[train.index("--set") + 1].partition("=")
    assert setting == "actions" and [own_action(name).name for name in ast.literal_eval(names)] == ["find"]


def test_a_checkpoint_that_was_trained_with_an_action_is_a_policy_that_has_it(folder: Path, tmp_path: Path) -> None:
    made = make_tiny("qwen2_5_vl")
    save_policy(tmp_path / "model", made.model, made.codec, EnvironmentConfig(view=spec_of(made)))
    speaker = importlib.import_module("found").agent(MemoryStore(), str(tmp_path / "model"))
    assert speaker.policy.stop_tags[-1] == "</find>" and [action.name for action in speaker.actions] == ["find"]


def test_the_encoder_finds_pages_by_colour(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "charts").mkdir()
    for name, colour in (("fire", "red"), ("sea", "blue"), ("flag", "red"), ("grey", "grey")):
        image = Image.new("RGB", (300, 200), colour)
        if name == "flag":
            image.paste("blue", (0, 0, 150, 200))
        image.save(folder / "charts" / f"{name}.png")
    index, search = shown("An encoder")
    assert main([*index, "--workers", "1", "--ocr", "off"]) == 0
    assert "4 pages have vectors" in capsys.readouterr().out
    assert main([*search, "--kernel", "numpy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["ref"]["document"] == "flag.png"
    assert main(["search", "sea", *search[2:], "--kernel", "numpy"]) == 1
    assert "names none of red, green, blue" in capsys.readouterr().err


def test_a_person_is_the_policy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pdf(folder / "docs" / "manual.pdf", ["The daemon listens on port 873"])
    assert main(["index", "docs", "--corpus", "manuals", "--workers", "1", "--ocr", "off"]) == 0
    said = iter(["<search>daemon port</search>", "<answer>873</answer>"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    (ask,) = shown("A policy")
    assert main(ask) == 0
    printed = capsys.readouterr().out
    assert "manual.pdf, page 1: see shown.png" in printed and "\n873\n" in printed
    with Image.open(folder / "shown.png") as seen:
        assert seen.mode == "RGB"


@pytest.mark.parametrize("file", documents(), ids=lambda file: file.name)
def test_python_in_the_documentation_compiles_and_its_imports_exist(file: Path) -> None:
    for block in blocks(file):
        if block.language != "python":
            continue
        tree = compile(block.text, str(block), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vrag":
                module = importlib.import_module(str(node.module))
                missing = [one.name for one in node.names if not hasattr(module, one.name)]
                assert not missing, f"{block}: {node.module} has no {', '.join(missing)}"


@pytest.mark.parametrize(
    ("name", "why"), [("builtins:id", "made a int"), ("human:nobody", "has no attribute"), ("gone:x", "No module")]
)
def test_a_policy_that_is_none_is_refused(name: str, why: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=f"policy {name}: .*{why}"):
        load_speaker(name)(MemoryStore())
