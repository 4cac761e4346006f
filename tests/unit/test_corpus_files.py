"""Which files are documents, and what they are called."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vrag.corpus.files import Found, Scan, is_gone, scan, unique_name
from vrag.errors import UsageError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_gives_its_documents_in_order_and_counts_the_rest(tmp_path: Path):
    touch(*(tmp_path / name for name in ("b.PDF", "a/z.jpeg", "a/b/c.tiff", "notes.txt", ".hidden.pdf", ".git/x.pdf")))
    listed = scan([tmp_path])
    assert [file.name for file in listed.found] == ["b.PDF", "a/z.jpeg", "a/b/c.tiff"]
    assert listed.skipped == {".txt": 1}


def test_what_office_lays_beside_an_open_document_is_hidden(tmp_path: Path):
    touch(tmp_path / "plan.docx", tmp_path / "~$plan.docx", tmp_path / ".~lock.plan.docx#")
    listed = scan([tmp_path])
    assert [file.name for file in listed.found] == ["plan.docx"] and not listed.skipped


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tmp_path: Path):
    touch(tmp_path / "scan.dat")
    assert [file.name for file in scan([tmp_path / "scan.dat"]).found] == ["scan.dat"]


def test_a_file_under_two_paths_is_found_once(tmp_path: Path):
    touch(tmp_path / "a/x.pdf")
    assert [file.name for file in scan([tmp_path, tmp_path / "a"]).found] == ["a/x.pdf"]


def test_what_is_no_regular_file_is_named_and_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.pdf")
    (tmp_path / "dangling.pdf").symlink_to(tmp_path / "nowhere")
    listed = scan([tmp_path])
    assert listed.found == []
    assert sorted(Path(path).name for path in listed.blocked) == ["dangling.pdf", "pipe.pdf"]


def test_a_loop_of_links_ends(tmp_path: Path):
    touch(tmp_path / "a/x.pdf")
    (tmp_path / "a/again").symlink_to(tmp_path)
    assert len(scan([tmp_path]).found) == 1


def test_only_what_lies_under_the_paths_is_covered(tmp_path: Path):
    touch(tmp_path / "docs/x.pdf")
    listed = scan([tmp_path / "docs"])
    assert listed.covers(str(tmp_path / "docs/gone.pdf"))
    assert not listed.covers(str(tmp_path / "docs2/other.pdf"))
    assert Scan(roots=["/"]).covers("/x.pdf")


def test_a_corpus_in_a_folder_is_left_out_unless_it_is_named(tmp_path: Path):
    kb = tmp_path / "kb"
    touch(tmp_path / "x.pdf", kb / "catalog.sqlite", kb / "pages/ab/page.jpg", kb / "uploads/y.pdf", kb / "z.pdf")
    listed = scan([tmp_path])
    assert [file.name for file in listed.found] == ["x.pdf"]
    assert not listed.covers(str(kb / "uploads/gone.pdf")) and listed.covers(str(kb / "pages/ab/page.jpg"))
    assert [file.name for file in scan([kb]).found] == ["z.pdf", "uploads/y.pdf"]
    listed = scan([tmp_path, kb / "uploads"])
    assert [file.name for file in listed.found] == ["x.pdf", "y.pdf"]
    assert listed.covers(str(kb / "uploads/gone.pdf"))


def test_many_named_files_take_no_time_for_each_pair_of_them():
    named = [f"/docs/{number}.pdf" for number in range(20_000)]
    listed = Scan(roots=named, blocked=dict.fromkeys(named[::2], "unreadable"))
    began = time.process_time()
    assert [path for path in named if listed.covers(path)] == named[1::2]
    assert time.process_time() - began < 10, "by pairs it takes minutes"


def test_a_folder_that_held_files_and_holds_none_is_blocked(tmp_path: Path):
    touch(tmp_path / "full/x.pdf", tmp_path / "single.pdf")
    (tmp_path / "empty").mkdir()
    known = {str(tmp_path / name) for name in ("full/x.pdf", "full/gone.pdf", "empty/a.pdf", "nowhere/b.pdf", "c.pdf")}
    listed = scan([tmp_path / name for name in ("full", "empty", "nowhere", "single.pdf", "c.pdf")])
    listed.hold_emptied(known)
    assert {Path(path).name for path in listed.blocked} == {"empty", "nowhere"}
    covered = {Path(path).name for path in known if listed.covers(path)}
    assert covered == {"x.pdf", "gone.pdf", "c.pdf"}, "a file that is named itself may leave"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_file_that_cant_be_looked_at_may_be_there(tmp_path: Path):
    touch(tmp_path / "closed/x.pdf")
    (tmp_path / "closed").chmod(0)
    try:
        assert not is_gone(str(tmp_path / "closed/x.pdf"))
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_what_is_gone(tmp_path: Path):
    touch(tmp_path / "x.pdf")
    (tmp_path / "dangling.pdf").symlink_to(tmp_path / "nowhere")
    gone = {name: is_gone(str(tmp_path / name)) for name in ("x.pdf", "dangling.pdf", "y.pdf", "x.pdf/y", "n" * 300)}
    assert gone == {"x.pdf": False, "dangling.pdf": False, "y.pdf": True, "x.pdf/y": True, "n" * 300: False}


def test_names_grow_by_parent_folders_until_they_are_unique():
    found = Found("/home/ann/2023/report.pdf", "report.pdf", 1, 1)
    assert unique_name(found, {"x.pdf"}.__contains__) == "report.pdf"
    assert unique_name(found, {"report.pdf"}.__contains__) == "2023/report.pdf"
    assert unique_name(found, {"report.pdf", "2023/report.pdf"}.__contains__) == "ann/2023/report.pdf"


def test_nothing_to_index_is_a_usage_error():
    with pytest.raises(UsageError):
        scan([])
