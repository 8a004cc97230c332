"""The catalogue of models (deploy/models.toml): where each comes from, where it is on this machine, and whether there
is room for it.
"""

from __future__ import annotations

import shutil
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tandem.errors import UserError
from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile
from tandem.paths import REPOSITORY, has_nvidia_gpu, models_folder, profile_folders

MARK = "tandem.json"  # written last; says what the folder was made from
_MIB, _GIB = 1 << 20, 1 << 30
_POLL_SECONDS = 1.0


class ModelError(UserError):
    """A model cannot be downloaded or converted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """`kind` is gguf (one file of `bytes` and `sha256`) or snapshot (a repository at `revision`).

    `head`: `bytes` and `sha256` of the beginning of a GGUF file, up to its weights. `chat_template`: Jinja, in
    place of the model's own; a base model has none. `family`: models of one err alike; empty: as the name says.
    """

    name: str
    kind: str
    license: str
    base: str
    repository: str
    family: str = ""
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    revision: str = "main"
    wheels: Any = None
    head: Any = None
    chat_template: str = ""

    @property
    def folder(self) -> Path:
        return models_folder() / self.name

    @property
    def is_pulled(self) -> bool:
        """Tell whether the model is here in any format."""
        return (self.folder / MARK).is_file()

    @property
    def has_tokenizer(self) -> bool:
        return (self.folder / "tokenizer.json").is_file()

    def is_ready(self, engine: str) -> bool:
        """`engine` can load it."""
        return self.is_pulled and (self.kind != "gguf" or format_of(self.folder, engine) != "")


def runs_gguf(engine: str) -> bool:
    """`engine`, a name of services.models.engine.registry, runs GGUF files as they are.

    "auto" does, but for an NVIDIA GPU where transformers is installed.
    """
    if engine == "auto":
        has_other = find_spec("transformers") is not None and has_nvidia_gpu()
        return find_spec("xllamacpp") is not None and not has_other
    return engine == "llamacpp"


def format_of(folder: Path, engine: str) -> str:
    """Return the format of weights in a model's folder that `engine` loads: "gguf", "safetensors", or "" where there
    is none.
    """
    for form in ("gguf", "safetensors") if runs_gguf(engine) else ("safetensors",):
        if any(folder.glob(f"*.{form}")) and not (form == "safetensors" and engine == "llamacpp"):
            return form
    return ""


def catalogue() -> dict[str, CatalogueEntry]:
    """Return the repository's, and what the profiles' own `models.toml` add. Raises ModelError for a file that breaks
    a rule.
    """
    found: dict[str, CatalogueEntry] = {}
    for file in (REPOSITORY / "deploy" / "models.toml", *_own_catalogues()):
        for name, fields in _tables(file).items():
            try:
                entry = CatalogueEntry(name, **fields)
            except TypeError as error:
                raise ModelError(f"{file}: {name}: {str(error).partition(') ')[2] or error}") from error
            if found.setdefault(name, entry) != entry:
                raise ModelError(
                    f"{file}: {name} is another model than that of the same name; give it a name of its own"
                )
    return found


def _own_catalogues() -> list[Path]:
    return sorted({file.resolve() for folder in profile_folders() for file in folder.glob("*/models.toml")})


def _tables(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is no valid TOML: {error}") from error


def models_of(profile: str, only: str = "both") -> list[str]:
    """Return names of a profile's models that run here: of all roles, or of `llm` or one of the small ones alone.

    Raises ModelError for an unknown profile, and for a file that breaks a rule.
    """
    try:
        loaded = load_profile(profile, tuple(profile_folders()))
    except TandemError as error:
        raise ModelError(str(error)) from error
    return [model.name for role, model in loaded.models.items() if only in ("both", role) and model.api is None]


class NoRoom(ModelError):
    """A disk is too small; no other source of the same model would help."""


def require_room(folder: Path, needed: int, what: str) -> None:
    """`needed`: bytes that are still to be written below `folder`, which exists. Raises NoRoom."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoom(
            f"{what} needs {_amount(needed)} more in {folder}, which has {_amount(free)} free: make room there, or set "
            "TANDEM_MODELS to another folder"
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _amount(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"


def wait_until_ready(names: Sequence[str], engine: str, seconds: float, report: Callable[[list[str]], None]) -> None:
    """Wait until `engine` can load every model; `report` gets the names of those that lack. Raises ModelError after
    `seconds`.
    """
    give_up, known = time.monotonic() + seconds, catalogue()
    if unknown := [name for name in names if name not in known]:
        raise ModelError(f"{' and '.join(unknown)} cannot be downloaded: the catalogue has {', '.join(known)}")
    while missing := [name for name in names if not known[name].is_ready(engine)]:
        report(missing)
        if time.monotonic() > give_up:
            raise ModelError(
                f"{' and '.join(missing)} did not come into {models_folder()} within {seconds:.0f} s; the log of the "
                "command that downloads says why"
            )
        time.sleep(_POLL_SECONDS)
