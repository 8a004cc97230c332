"""Saved prefixes: whatever stands in their folder, an engine starts, and nothing outside of it is written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from services.models.engine.loop.prefix_files import PrefixFiles

KEYS_VALUES = [(np.ones((2, 3), np.float32), np.zeros(4, np.float16))]


def replace(file: Path, make: Callable[[Path], None]) -> None:
    file.unlink()
    make(file)


SPOILED: dict[str, Callable[[Path], object]] = {
    "an empty array": lambda file: file.with_suffix(".0.0.npy").write_bytes(b""),
    "an empty header": lambda file: file.write_bytes(b""),
    "a deep header": lambda file: file.write_text("[" * 100_000),
    "a header of no object": lambda file: file.write_text("5"),
    "a header that is no text": lambda file: file.write_bytes(b"\xff"),
    "an endless shape": lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), "shape": [10**12]})),
    "an array of objects": lambda file: np.save(file.with_suffix(".0.0.npy"), np.array([{}]), allow_pickle=True),
    "a dangling link": lambda file: replace(file, lambda at: at.symlink_to("nowhere")),
    "a pipe": lambda file: replace(file, os.mkfifo),
}


def opened(folder: Path, max_bytes: int = 1 << 20) -> PrefixFiles:
    return PrefixFiles(folder, "model", max_bytes)


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    opened(tmp_path).save((1, 2), KEYS_VALUES, "ada")
    [prefix] = opened(tmp_path).saved()
    assert (prefix.ids, prefix.owner) == ((1, 2), "ada")
    for array, other in zip(prefix.keys_values[0], KEYS_VALUES[0], strict=True):
        assert np.array_equal(array, other)


@pytest.mark.parametrize("fault", SPOILED)
def test_a_bad_file_is_dropped_with_one_line_and_the_others_are_read(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(tmp_path).save((1, 2), KEYS_VALUES, "ada")
    [header] = tmp_path.glob("*.json")
    SPOILED[fault](header)
    opened(tmp_path).save((3, 4), KEYS_VALUES, "ada")
    with caplog.at_level(logging.WARNING):
        assert [prefix.ids for prefix in opened(tmp_path).saved()] == [(3, 4)]
    assert len(caplog.records) == 1
    assert not list(tmp_path.glob(f"{header.stem}*"))


def test_no_link_is_written_through_or_read(tmp_path: Path) -> None:
    folder, outside = tmp_path / "saved", tmp_path / "outside"
    opened(folder).save((1, 2), KEYS_VALUES, "ada")
    outside.write_text("mine")
    names = [file.name for file in folder.iterdir()]
    for name in names:
        (folder / name).unlink()
    for name in [*names, f".{names[0].partition('.')[0]}"]:
        (folder / name).symlink_to(outside)
    opened(folder).save((1, 2), KEYS_VALUES, "ada")
    assert outside.read_text() == "mine"
    assert [prefix.ids for prefix in opened(folder).saved()] == [(1, 2)]
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(OSError, match="saved"):
        opened(folder)


def test_a_save_that_fails_leaves_nothing_and_what_a_crash_left_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path, max_bytes=2000)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space"):
            files.save((1, 2), KEYS_VALUES, "ada")
    assert not list(tmp_path.iterdir())
    (tmp_path / f".{'a' * 32}.left").write_bytes(b"x" * 3000)
    files.save((1, 2), KEYS_VALUES, "ada")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000
