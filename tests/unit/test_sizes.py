from __future__ import annotations

import os
from pathlib import Path

import pytest

from vrag.sizes import bytes_below, size


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (74_000, "74.0 kB"),
        (99_960, "100 kB"),
        (999_700, "1.0 MB"),
        (4_068_633, "4.1 MB"),
        (25_300_000_000, "25.3 GB"),
        (12_345_000_000_000, "12.3 TB"),
    ],
)
def test_sizes_are_for_people(count: int, said: str):
    assert size(count) == said


def test_a_file_that_goes_while_a_folder_is_measured_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "there").write_bytes(b"four")
    monkeypatch.setattr(os, "walk", lambda folder: [(folder, [], ["there", "gone"])])
    assert bytes_below(tmp_path) == 4
