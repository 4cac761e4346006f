"""The synthetic benchmark as a whole: what a directory that `synthesize` wrote promises."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pypdfium2 as pdfium
import pytest

import vrag.data
from vrag.cli import main
from vrag.data.synthetic import Manifest, SyntheticSpec, difficulty, synthesize, validate
from vrag.data.synthetic.layouts import LAYOUTS
from vrag.data.synthetic.vocabulary import FILLER, NOTES, SITES, SUFFIXES, TOPICS, split_of
from vrag.data.tasks import read_tasks, write_tasks
from vrag.errors import ConfigError, DataError, UsageError
from vrag.types import Task


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def page_texts(folder: Path) -> dict[tuple[str, int], str]:
    texts: dict[tuple[str, int], str] = {}
    for path in sorted((folder / "documents").glob("*.pdf")):
        document = pdfium.PdfDocument(path)
        for number, page in enumerate(document, start=1):
            texts[path.name, number] = page.get_textpage().get_text_range()
        document.close()
    return texts


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "out"
    synthesize(out, SyntheticSpec(split="train", documents=60, seed=1))
    return out


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heldout") / "out"
    synthesize(out, SyntheticSpec(split="heldout", documents=60, seed=1))
    return out


@pytest.fixture(scope="module")
def tasks(train: Path) -> list[Task]:
    return read_tasks(train / "tasks.jsonl")


def test_the_same_spec_writes_the_same_bytes_in_another_process(train: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vrag.data.synthetic import *;"
        "synthesize(Path(sys.argv[1]), SyntheticSpec(split='train', documents=60, seed=1))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True, env=environment)
    assert digest(tmp_path / "again") == digest(train)


def test_another_seed_writes_other_documents(train: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "other", SyntheticSpec(split="train", documents=60, seed=2))
    same = digest(train).items() & digest(tmp_path / "other").items()
    assert same == set()


def test_another_first_number_writes_other_documents_that_may_lie_beside(tmp_path: Path) -> None:
    names, entities = list[str](), list[str]()
    for first in (1, 5):
        out = tmp_path / str(first)
        synthesize(out, SyntheticSpec(documents=4, first=first))
        names += [path.name for path in sorted((out / "documents").iterdir())]
        entities += sorted({str(task.meta["entity"]) for task in read_tasks(out / "tasks.jsonl")})
    assert names == [f"doc-{number:04d}.pdf" for number in range(1, 9)]
    assert len(set(entities)) == len(entities) >= 2


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_gold_box_holds_its_answer_or_its_code(tmp_path: Path, split: str, level: int) -> None:
    spec = SyntheticSpec(split=split, documents=30, seed=level, difficulty=difficulty(level))  # type: ignore[arg-type]
    manifest = synthesize(tmp_path / "out", spec)
    assert validate(tmp_path / "out") == sum(hops * count for hops, count in manifest.hops.items())


def test_a_gold_box_that_holds_something_else_is_found(train: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "documents").symlink_to(train / "documents")
    (copy / "manifest.json").write_bytes((train / "manifest.json").read_bytes())
    first, *others = read_tasks(train / "tasks.jsonl")
    write_tasks(copy / "tasks.jsonl", [first.model_copy(update={"answers": ["7777"]}), *others])
    with pytest.raises(DataError, match=rf"{first.id}.*page \d+ has .* not '7777'"):
        validate(copy)


def test_splits_share_neither_names_nor_all_layouts(train: Path, heldout: Path) -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for out, split in ((train, "train"), (heldout, "heldout")):
        for task in read_tasks(out / "tasks.jsonl"):
            first_word = task.meta["entity"].split()[0]
            assert split_of(first_word) == split
            names[split].add(first_word)
    assert names["train"] and names["heldout"] and not names["train"] & names["heldout"]
    own = {layout.name for layout in LAYOUTS.values() if layout.only == "heldout"}
    pages = Manifest.model_validate_json((train / "manifest.json").read_text()).pages_by_layout
    assert not own & pages.keys()
    pages = Manifest.model_validate_json((heldout / "manifest.json").read_text()).pages_by_layout
    assert own & pages.keys()


def test_names_of_organisations_share_words(tasks: list[Task]) -> None:
    entities = {task.meta["entity"] for task in tasks}
    first, second = (Counter(name.split()[part] for name in entities) for part in (0, 1))
    assert max(first.values()) >= 2 and max(second.values()) >= 3


def test_three_in_ten_questions_have_two_hops_and_kinds_are_balanced(train: Path) -> None:
    manifest = Manifest.model_validate_json((train / "manifest.json").read_text())
    assert manifest.questions == 240 and manifest.hops == {1: 168, 2: 72}
    assert set(manifest.kinds) == {"cards", "table", "bar", "line", "pie", "infographic"}
    assert min(manifest.kinds.values()) >= 20


def test_a_bridge_is_stated_on_the_first_gold_page_and_is_the_title_of_the_second(
    train: Path, tasks: list[Task]
) -> None:
    texts = page_texts(train)
    for task in tasks:
        if task.hops == 1:
            assert task.meta["bridge"] is None and len(task.gold) == 1
            continue
        site = f"{task.meta['site']} {task.meta['bridge']}"
        metric = task.meta["metric"]
        first, second = (texts[gold.ref.document, gold.ref.page] for gold in task.gold)
        assert task.meta["entity"] in first and task.meta["bridge"] in first and metric not in first
        assert site in second and metric in second and task.meta["entity"] not in second
        assert task.meta["bridge"] not in task.question


def test_an_entity_states_a_metric_on_one_page_only(train: Path, tasks: list[Task]) -> None:
    texts = page_texts(train)
    for task in tasks:
        if task.hops == 2:
            continue
        holds = [
            page
            for page, text in texts.items()
            if task.meta["entity"] in text and re.search(rf"\b{task.meta['metric']}\b", text)
        ]
        assert holds == [(task.gold[0].ref.document, task.gold[0].ref.page)]


def test_words_of_different_roles_are_different() -> None:
    metrics = [metric for topic in TOPICS for metric in topic.metrics]
    assert len(metrics) == len(set(metrics)) and max(map(len, metrics)) <= 9
    prose = set(re.findall(r"[a-z]+", " ".join((*FILLER, *NOTES)).lower()))
    others = {word.lower() for word in (*SUFFIXES, *SITES, *(topic.name for topic in TOPICS))}
    assert not {metric.lower() for metric in metrics} & (prose | others)
    assert not prose & {word.lower() for word in (*SUFFIXES, *SITES)}


def test_a_search_for_entity_and_metric_finds_the_gold_page_and_half_of_it_does_not(
    train: Path, tasks: list[Task]
) -> None:
    bm25 = Bm25(page_texts(train))
    right = [
        bm25.top(query) == (gold.ref.document, gold.ref.page)
        for task in tasks
        for query, gold in zip(task.meta["queries"], task.gold, strict=True)
    ]
    assert sum(right) / len(right) >= 0.97
    for part in ("entity", "metric"):
        alone = [
            bm25.top(task.meta[part]) == (task.gold[0].ref.document, task.gold[0].ref.page)
            for task in tasks
            if task.hops == 1
        ]
        assert sum(alone) / len(alone) <= 0.4


class Bm25:
    """The textbook formula (k1 1.2, b 0.75), so that the benchmark isn't tuned to one engine."""

    def __init__(self, texts: dict[tuple[str, int], str]) -> None:
        self.pages = {page: Counter(re.findall(r"\w+", text.lower())) for page, text in texts.items()}
        self.frequency = Counter(word for counts in self.pages.values() for word in counts)
        self.mean = sum(counts.total() for counts in self.pages.values()) / len(self.pages)

    def top(self, query: str) -> tuple[str, int]:
        words = re.findall(r"\w+", query.lower())
        return max(self.pages, key=lambda page: self._score(self.pages[page], words))

    def _score(self, counts: Counter[str], words: list[str]) -> float:
        score, length = 0.0, 1.2 * (0.25 + 0.75 * counts.total() / self.mean)
        for word in words:
            rarity = math.log(1 + (len(self.pages) - self.frequency[word] + 0.5) / (self.frequency[word] + 0.5))
            score += rarity * counts[word] * 2.2 / (counts[word] + length)
        return score


def test_a_constant_answer_is_nearly_never_right(tmp_path: Path) -> None:
    for level, most in ((1, 0.03), (2, 0.015), (3, 0.01)):
        spec = SyntheticSpec(documents=150, questions=600, difficulty=difficulty(level))
        synthesize(tmp_path / str(level), spec)
        answers = Counter(task.answers[0] for task in read_tasks(tmp_path / str(level) / "tasks.jsonl"))
        assert answers.most_common(1)[0][1] / 600 <= most


def test_at_difficulty_1_answers_are_two_digits_and_at_3_every_spelling_is_accepted(tmp_path: Path) -> None:
    synthesize(tmp_path / "one", SyntheticSpec(documents=20))
    assert all(re.fullmatch(r"\d\d", task.answers[0]) for task in read_tasks(tmp_path / "one" / "tasks.jsonl"))
    synthesize(tmp_path / "three", SyntheticSpec(documents=40, difficulty=difficulty(3)))
    answers = [task.answers for task in read_tasks(tmp_path / "three" / "tasks.jsonl")]
    assert any(re.fullmatch(r"[\d,]+,\d{3}", first) and rest == [first.replace(",", "")] for first, *rest in answers)
    assert any(re.fullmatch(r"\d+\.\d [\w%]+", first) and rest == [first.split()[0]] for first, *rest in answers)


def test_from_difficulty_2_on_the_held_out_split_asks_in_words_that_training_never_saw(
    tmp_path: Path,
) -> None:
    def has_unseen(split: str, level: int) -> bool:
        out = tmp_path / f"{split}{level}"
        synthesize(out, SyntheticSpec(split=split, documents=20, difficulty=difficulty(level)))  # type: ignore[arg-type]
        return any("figure" in task.question for task in read_tasks(out / "tasks.jsonl"))

    assert [has_unseen("heldout", 1), has_unseen("train", 2), has_unseen("heldout", 2)] == [
        False,
        False,
        True,
    ]


def test_questions_are_all_different_and_file_names_say_nothing(train: Path, tasks: list[Task]) -> None:
    assert len(
        {(task.meta["entity"], task.meta["site"], task.meta["metric"], task.meta["category"]) for task in tasks}
    ) == len(tasks)
    assert all(re.fullmatch(r"doc-\d{4}\.pdf", path.name) for path in (train / "documents").iterdir())
    assert len({task.id for task in tasks}) == len(tasks)


def test_more_questions_than_the_pages_carry_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask for fewer or for more documents"):
        synthesize(tmp_path / "out", SyntheticSpec(documents=4, questions=5000))
    assert list(tmp_path.iterdir()) == []


def test_more_documents_than_there_are_codes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask for fewer documents"):
        synthesize(tmp_path / "out", SyntheticSpec(documents=100_000))


def test_a_directory_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        synthesize(tmp_path, SyntheticSpec(documents=4))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    torn = tmp_path / "out.partial" / "documents"
    torn.mkdir(parents=True)
    (torn / "doc-9999.pdf").write_bytes(b"torn")
    synthesize(tmp_path / "out", SyntheticSpec(documents=4, questions=4))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (tmp_path / "out" / "documents" / "doc-9999.pdf").exists()


def test_an_unknown_difficulty_names_the_ones_there_are() -> None:
    with pytest.raises(ConfigError, match="1, 2, 3"):
        difficulty(4)


def test_the_command_writes_a_benchmark_and_prints_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    arguments = ["data", "synthesize", str(out), "--split", "heldout", "--documents", "6", "--seed", "5"]
    assert main([*arguments, "--difficulty", "2", "--questions", "10", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "manifest.json").read_text())
    assert printed["spec"]["split"] == "heldout" and printed["spec"]["seed"] == 5
    assert printed["spec"]["difficulty"]["level"] == 2
    assert printed["documents"] == 6 and printed["questions"] == 10
    assert main(arguments) == 2
    assert "not an empty directory" in capsys.readouterr().err


def test_without_reportlab_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("vrag.data.synthetic")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(vrag.data, "synthetic")
    for name in [name for name in sys.modules if name.split(".")[0] == "reportlab"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["data", "synthesize", str(tmp_path / "out")]) == 2
    assert "pip install 'vrag[synthetic]'" in capsys.readouterr().err
