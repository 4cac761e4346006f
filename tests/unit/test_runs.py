import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrag.errors import DataError, UsageError, VragError
from vrag.runs import Log, RunDir, atomic_write, content_key, read_config, read_lines
from vrag.types import Frozen


class Settings(Frozen):
    rate: float = 0.1
    names: tuple[str, ...] = ("a",)
    width: int = 64


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "rows.jsonl")


def test_what_is_appended_is_read_in_order(log: Log) -> None:
    log.append({"step": 1, "text": "naïve 表 \u2028 \r \n"})
    log.append(Settings(rate=0.5))
    assert log.read() == [
        {"step": 1, "text": "naïve 表 \u2028 \r \n"},
        {"rate": 0.5, "names": ["a"], "width": 64},
    ]
    assert len(log.path.read_bytes().split(b"\n")) == 3


def test_a_missing_log_is_empty(log: Log) -> None:
    assert log.read() == []


@pytest.mark.parametrize("torn", [b'{"step": 2', b'{"step": 2}', b"\x00\x00\x00\n", b"[]\n"])
def test_a_torn_last_line_is_skipped_and_then_cut_off(log: Log, torn: bytes) -> None:
    log.append({"step": 1})
    with log.path.open("ab") as file:
        file.write(torn)
    assert log.read() == [{"step": 1}]
    Log(log.path).append({"step": 2})
    assert log.path.read_bytes() == b'{"step":1}\n{"step":2}\n'


def test_a_broken_line_in_the_middle_is_named(log: Log) -> None:
    log.path.write_bytes(b'{"step":1}\nnonsense\n{"step":3}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2"):
        log.read()
    with pytest.raises(DataError, match="line 2"):
        log.append({"step": 4})


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=200))
def test_a_log_cut_anywhere_holds_a_prefix_and_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    log = Log(tmp_path_factory.mktemp("cut") / "rows.jsonl")
    rows = [{"step": step, "text": "é\n" * step} for step in range(6)]
    for row in rows:
        log.append(row)
    os.truncate(log.path, min(cut, log.path.stat().st_size))
    kept = log.read()
    assert kept == rows[: len(kept)]
    again = Log(log.path)
    for row in rows[len(kept) :]:
        again.append(row)
    assert log.read() == rows


def test_a_full_disk_is_one_clear_error_and_the_log_stays_whole(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append({"step": 1})
    real_write = os.write

    def half_then_full(descriptor: int, data: memoryview) -> int:
        if len(data) > 4:
            return real_write(descriptor, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(VragError, match=r"rows\.jsonl.*No space left"):
        log.append({"step": 2})
    monkeypatch.undo()
    assert log.path.read_bytes() == b'{"step":1}\n'
    log.append({"step": 2})
    assert log.read() == [{"step": 1}, {"step": 2}]


def test_keep_takes_rows_back(log: Log) -> None:
    for step in range(5):
        log.append({"step": step})
    log.keep(lambda row: row["step"] <= 2)
    assert [row["step"] for row in log.read()] == [0, 1, 2]


def test_a_failed_atomic_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.bin"
    atomic_write(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VragError, match=r"model\.bin"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_content_has_an_equal_key_whatever_the_order() -> None:
    assert content_key({"a": 1, "b": 2}, "x") == content_key({"b": 2, "a": 1}, "x")
    assert content_key(Settings()) == content_key(Settings())
    assert content_key("ab", "c") != content_key("a", "bc")


def test_a_run_with_the_same_configuration_is_resumed(tmp_path: Path) -> None:
    run = RunDir.open(tmp_path / "run", Settings())
    run.metrics.append({"step": 1})
    again = RunDir.open(tmp_path / "run", Settings())
    assert again.metrics.read() == [{"step": 1}]
    assert read_config(tmp_path / "run") == json.loads(Settings().model_dump_json())


def test_a_run_that_another_process_is_at_work_in_is_left_to_it(tmp_path: Path) -> None:
    code = (
        f"from vrag.runs import *; r = RunDir.open(Path({str(tmp_path / 'run')!r}), {{}}); print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"\n"
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="another process is at work in this run"):
                RunDir.open(tmp_path / "run", {}, overwrite=overwrite)
        other.kill()
    assert RunDir.open(tmp_path / "run", {}).path.is_dir()


def test_a_process_may_open_its_run_again_and_a_child_of_it_keeps_nobody_out(tmp_path: Path) -> None:
    code = f"""if True:
        import os, time
        from vrag.runs import *
        run = [RunDir.open(Path({str(tmp_path / "run")!r}), {{}}) for _ in range(2)]
        RunDir.open(run[0].path, {{}}, overwrite=True)
        if child := os.fork():
            print(child, flush=True)
        else:
            os.close(1)
            time.sleep(60)
        os._exit(0)
    """
    child = int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert RunDir.open(tmp_path / "run", {}).path.is_dir()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_run_with_another_configuration_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    RunDir.open(tmp_path / "run", {"rate": 0.1, "model": {"width": 64}, "old": 1})
    with pytest.raises(UsageError) as refused:
        RunDir.open(tmp_path / "run", {"rate": 0.1, "model": {"width": 96}, "new": None})
    message = str(refused.value)
    assert "model.width: 64 there, 96 now" in message
    assert "old: 1 there, unset now" in message
    assert "new: unset there, null now" in message
    assert "rate" not in message
    assert refused.value.exit_code == 2


def test_other_questions_are_said_in_words(tmp_path: Path) -> None:
    RunDir.open(tmp_path / "run", {"tasks": {"count": 3, "key": "5d8b"}, "rate": 0.1})
    with pytest.raises(UsageError, match="the questions changed since that run: add --overwrite") as refused:
        RunDir.open(tmp_path / "run", {"tasks": {"count": 2, "key": "77aa"}, "rate": 0.1})
    assert "tasks." not in str(refused.value)
    with pytest.raises(UsageError, match=r"another configuration \(rate: 0\.1 there, 0\.2 now; other questions\)"):
        RunDir.open(tmp_path / "run", {"tasks": {"count": 3, "key": "77aa"}, "rate": 0.2})


def test_a_run_of_another_length_says_how_to_train_on(tmp_path: Path) -> None:
    RunDir.open(tmp_path / "run", {"steps": 10})
    with pytest.raises(UsageError, match=r"\(steps: 10 there, 12 now\).*to train on from its result, give its final/"):
        RunDir.open(tmp_path / "run", {"steps": 12})


def test_what_only_adds_to_a_run_is_kept_from_then_on(tmp_path: Path) -> None:
    first = RunDir.open(tmp_path / "run", {"count": 2})
    first.metrics.append({"step": 1})
    grown = RunDir.open(tmp_path / "run", {"count": 3}, adds_to=lambda found: found == {"count": 2})
    assert read_config(grown.path) == {"count": 3} and grown.metrics.read() == [{"step": 1}]
    with pytest.raises(UsageError, match="another configuration"):
        RunDir.open(tmp_path / "run", {"count": 2}, adds_to=lambda found: found == {"count": 1})


def test_what_a_kill_left_of_the_first_write_is_no_other_run(tmp_path: Path) -> None:
    (tmp_path / ".run.json.ab12.tmp").write_text("{")
    assert RunDir.open(tmp_path, {"rate": 0.1}).path == tmp_path


def test_overwrite_follows_a_link_to_the_run(tmp_path: Path) -> None:
    RunDir.open(tmp_path / "there", {"rate": 0.1}).metrics.append({"step": 1})
    (tmp_path / "here").symlink_to(tmp_path / "there", target_is_directory=True)
    assert RunDir.open(tmp_path / "here", {"rate": 0.2}, overwrite=True).metrics.read() == []
    assert (tmp_path / "here").is_symlink() and read_config(tmp_path / "there") == {"rate": 0.2}


def test_overwrite_starts_the_run_anew(tmp_path: Path) -> None:
    run = RunDir.open(tmp_path / "run", {"rate": 0.1})
    run.metrics.append({"step": 1})
    fresh = RunDir.open(tmp_path / "run", {"rate": 0.2}, overwrite=True)
    assert fresh.metrics.read() == []
    assert read_config(fresh.path) == {"rate": 0.2}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("my only copy")
    with pytest.raises(UsageError, match="holds no run"):
        RunDir.open(tmp_path, {"rate": 0.1}, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "my only copy"


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json"):
        RunDir.open(tmp_path, {"rate": 0.1})


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "absent.jsonl") == []
