"""Models on this machine: download, verify, convert once where an engine needs it, all in the cache folder.

llama.cpp runs a GGUF file as it was downloaded; for other engines it is converted. A model's folder is renamed into
place when it is complete, so a folder that exists is usable.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from tandem.local.catalogue import (
    MARK,
    CatalogueEntry,
    ModelError,
    catalogue,
    format_of,
    require_room,
    runs_gguf,
    size_of,
)
from tandem.local.downloads import fetch_gguf, fetch_head
from tandem.local.hub import Progress
from tandem.local.snapshots import fetch_snapshot
from tandem.paths import REPOSITORY, models_folder

_GGUF = b"GGUF"
_CONVERTED = 3.3  # bfloat16 weights of a file with 4.85 bits a weight (q4_k_m) are this many times as large


def pull(name: str, progress: Progress, engine: str) -> Path:
    """Return the model's folder, with what `engine` needs, downloaded and converted unless it is there. Raises
    ModelError.
    """
    entry = _entry(name)
    if entry.is_ready(engine):
        return entry.folder
    with _downloading(entry, progress, name) as downloads:
        if not entry.is_ready(engine):  # by the command that had the lock before
            _download(entry, downloads, progress, engine)
    return entry.folder


def pull_tokenizer(name: str, progress: Progress) -> Path:
    """Return the model's folder, with its tokenizer at least: a few megabytes, all that a gateway needs. Raises
    ModelError.
    """
    entry = _entry(name)
    if entry.has_tokenizer:
        return entry.folder
    # Apart from the weights' downloads, which may wait there to be resumed.
    with _downloading(entry, progress, f"{name}.tokenizer") as downloads:
        if not entry.has_tokenizer:
            _download_tokenizer(entry, downloads, progress)
    return entry.folder


def adopt(name: str, gguf: Path) -> Path:
    """Return the folder of a model that is one GGUF file of the user's, which stays where it is. Raises ModelError."""
    folder = models_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / gguf.name
    if not link.exists():
        link.symlink_to(gguf)
    if not (folder / "tokenizer.json").is_file():
        _read_tokenizer(gguf, folder)
    return folder


def _entry(name: str) -> CatalogueEntry:
    entries = catalogue()
    if name not in entries:
        raise ModelError(f"{name!r} is not in the catalogue; it has: {', '.join(entries)}")
    return entries[name]


@contextmanager
def _downloading(entry: CatalogueEntry, progress: Progress, folder: str) -> Iterator[Path]:
    """`folder` for the model's downloads, which no other command writes to. Raises ModelError for a disk that is
    full.
    """
    downloads = models_folder() / ".download" / folder
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with _alone(downloads.with_name(f"{entry.name}.lock"), progress):
            downloads.mkdir(exist_ok=True)
            yield downloads
            shutil.rmtree(downloads)
    except OSError as error:
        raise ModelError(
            f"{entry.name} cannot be written to {models_folder()} ({error.strerror or error}): make room there, or set "
            "TANDEM_MODELS to another folder"
        ) from error


@contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Two downloads of one model would write into the same files: the second waits, and finds the model here."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        progress("waiting for another command that downloads it", 0, 1)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _download(entry: CatalogueEntry, downloads: Path, progress: Progress, engine: str) -> None:
    if entry.kind == "gguf":
        require_room(downloads, _missing(entry, downloads, engine), entry.name)
    with _completed_folder(entry) as folder:
        if entry.kind != "gguf":
            source = fetch_snapshot(entry, downloads, progress)
            for path in downloads.iterdir():
                shutil.move(path, folder / path.name)
        else:
            source = _fetch(entry, downloads, progress)
            _unpack(entry, downloads, folder, progress, engine)
        mark = {
            "name": entry.name,
            "source": source,
            "sha256": entry.sha256,
            "license": entry.license,
            "base": entry.base,
        }
        (folder / MARK).write_text(json.dumps(mark, indent=2) + "\n")


def _missing(entry: CatalogueEntry, downloads: Path, engine: str) -> int:
    """Return bytes that a GGUF file and what is made of it still take."""
    is_here = entry.is_pulled and (entry.folder / entry.file).is_file()
    converted = 0 if runs_gguf(engine) else int(_CONVERTED * entry.bytes)
    return converted + (0 if is_here else entry.bytes - size_of(downloads))


def _unpack(entry: CatalogueEntry, downloads: Path, folder: Path, progress: Progress, engine: str) -> None:
    if runs_gguf(engine):
        progress("reading the tokenizer", 0, 1)
        _read_tokenizer(downloads / entry.file, folder)
        shutil.move(downloads / entry.file, folder / entry.file)
    else:
        progress("converting", 0, 1)
        _convert(downloads / entry.file, folder)
        progress("converting", 1, 1)


def _download_tokenizer(entry: CatalogueEntry, downloads: Path, progress: Progress) -> None:
    """The folder gets no mark: as a model it is not pulled, and a later `pull` replaces it."""
    with _completed_folder(entry) as folder:
        if entry.kind == "gguf":
            fetch_head(entry, downloads, progress)
            progress("reading the tokenizer", 0, 1)
            _read_tokenizer(downloads / entry.file, folder)
        else:
            fetch_snapshot(entry, downloads, progress, only_tokenizer=True)
            for path in downloads.iterdir():
                shutil.move(path, folder / path.name)


def _fetch(entry: CatalogueEntry, downloads: Path, progress: Progress) -> str:
    """Put the GGUF file into `downloads`, from the model's folder where an engine has it. Returns the name of its
    source.
    """
    here = entry.folder / entry.file
    if entry.is_pulled and here.is_file() and not (downloads / entry.file).exists():
        os.link(here, downloads / entry.file)
    return fetch_gguf(entry, downloads, progress)


def fault_of(name: str, engine: str) -> str:
    """Return what makes the model's folder unusable for `engine`, from its content; empty where nothing does."""
    folder = models_folder() / name
    if not folder.is_dir():
        return "is missing"
    found = format_of(folder, engine)
    needed = ("tokenizer.json",) if found == "gguf" else ("config.json", "tokenizer.json")
    missing = [file for file in needed if not (folder / file).is_file()]
    missing += [] if found else ["weights"]
    if missing:
        return f"has no {' and no '.join(missing)}"
    for file in sorted(folder.glob(f"*.{found}")):
        if fault := _fault_in(file):
            return f"has a broken {file.name} ({fault})"
    return ""


def _fault_in(file: Path) -> str:
    if file.suffix == ".gguf":
        with file.open("rb") as stream:
            return "" if stream.read(len(_GGUF)) == _GGUF else "it is no GGUF file"
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            return ""
    except (SafetensorError, OSError) as error:
        return str(error)


@contextmanager
def _completed_folder(entry: CatalogueEntry) -> Iterator[Path]:
    """A folder to fill; renamed into place when the block ends without an error, with what a usable folder has
    besides.
    """
    partial = entry.folder.with_name(f".partial-{entry.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    if entry.chat_template:
        (partial / "chat_template.jinja").write_text(entry.chat_template)
    for file in partial.iterdir():
        if file.is_file():
            file.chmod(0o644)  # safetensors creates files for its user alone; a pod that mounts them has another
    if entry.is_pulled:
        for path in entry.folder.iterdir():
            if not (partial / path.name).exists():
                path.rename(partial / path.name)
    shutil.rmtree(entry.folder, ignore_errors=True)
    partial.rename(entry.folder)


def _convert(gguf: Path, folder: Path) -> None:
    """Convert in a child process: dequantising takes several times the file's size in memory, which is then freed."""
    if find_spec("transformers") is None:
        raise ModelError("a GGUF file is converted by transformers, which is not installed: run `make develop`")
    _run(
        f"{gguf.name} cannot be converted", "services.models.engine.llamacpp.gguf", "--convert", str(gguf), str(folder)
    )


def _read_tokenizer(gguf: Path, folder: Path) -> None:
    """Read the tokenizer in a child process, because the command line does not import the engines."""
    _run(f"{gguf.name} cannot be read", "services.models.engine.llamacpp.gguf", str(gguf), str(folder))


def _run(failure: str, module: str, *arguments: str) -> None:
    """The module's main program in a child process. Raises ModelError: `failure` and the last line of its output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ModelError(f"{failure}: {(done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]}")
