"""A whole repository of Hugging Face's hub, or its tokenizer alone: each file is resumed, and verified by the hub's own
hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tandem.local.catalogue import CatalogueEntry, ModelError, require_room, size_of
from tandem.local.hub import HubFile, Progress, fetch, require_hub

_BLOCK = 16 << 20
TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}
)


def fetch_snapshot(entry: CatalogueEntry, folder: Path, progress: Progress, *, only_tokenizer: bool = False) -> str:
    """The repository's files into `folder`. Returns the name of the source. Raises ModelError, and NoRoom before any
    download.
    """
    require_hub()
    files = [file for file in _files(entry) if not only_tokenizer or file.path in TOKENIZER_FILES]
    if only_tokenizer and not any(file.path == "tokenizer.json" for file in files):
        raise ModelError(f"{entry.repository}@{entry.revision} has no tokenizer.json")
    require_room(folder, sum(file.size for file in files) - size_of(folder), entry.name)
    for number, file in enumerate(files, 1):
        try:
            _fetch(entry, file, folder, _numbered(progress, number, len(files)))
        except ModelError as error:
            raise _failure(entry, error) from error
    return f"Hugging Face {entry.repository}@{entry.revision}"


def _files(entry: CatalogueEntry) -> list[Any]:
    """List the files with path, size and hash, as huggingface_hub's RepoFile. Raises ModelError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

    # OSError, and the errors of the HTTP library that this version of the hub's client uses.
    failures = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    try:
        tree = list(HfApi().list_repo_tree(entry.repository, revision=entry.revision, recursive=True))
    except failures as error:
        raise _failure(entry, error) from error
    if not (files := [each for each in tree if isinstance(each, RepoFile)]):
        raise ModelError(f"{entry.repository}@{entry.revision} is empty")
    return files


def _failure(entry: CatalogueEntry, error: Exception) -> ModelError:
    reason = str(error) if isinstance(error, ModelError) else type(error).__name__
    return ModelError(
        f"{entry.repository} cannot be downloaded from Hugging Face, its only source ({reason}). Run the same "
        "command again to resume the download"
    )


def _numbered(progress: Progress, number: int, count: int) -> Progress:
    return lambda step, done, total: progress(f"{step} file {number} of {count}", done, total)


def _fetch(entry: CatalogueEntry, file: Any, folder: Path, progress: Progress) -> None:
    """A file that is there under its own name was verified when it was renamed."""
    target, loose = folder / file.path, folder / f"{file.path}.unverified"
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{file.path} would be written outside of the model's folder")
    if target.is_file():
        return
    fetch(HubFile(entry.repository, entry.revision, file.path, file.size), loose, progress)
    if not _is_intact(loose, file, progress):
        loose.unlink()
        raise ModelError(f"{file.path} is not the repository's: its hash differs")
    loose.rename(target)


def _is_intact(path: Path, file: Any, progress: Progress) -> bool:
    """Large files are known by sha256, small ones by Git's hash of a blob."""
    if path.stat().st_size != file.size:
        return False
    if file.lfs is not None:
        digest, wanted = hashlib.sha256(), file.lfs.sha256
    else:
        digest, wanted = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False), file.blob_id
    done = 0
    for block in _blocks(path):
        digest.update(block)
        done += len(block)
        progress("verifying", done, file.size)
    return bool(digest.hexdigest() == wanted)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
