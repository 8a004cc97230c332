"""A variable that is set to nothing counts as not set: an empty path is no folder, and not the working one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from services.models.settings import ModelServiceSettings
from services.shared.identity.authentication import IdentitySettings
from services.shared.process.settings import read_settings
from tandem.paths import own_profiles, profile_folders
from tests.unit.test_docs import generator

SETTINGS = generator("gen_settings")


def kinds() -> list[type[BaseSettings]]:
    paths = [path.partition(":") for _, _, path in SETTINGS.PROCESSES]
    return [getattr(importlib.import_module(module), name) for module, _, name in paths]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_a_process_starts_with_its_defaults_where_every_variable_is_empty(
    kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for field in kind.model_fields.values():
        for name in SETTINGS.names(field):
            monkeypatch.setenv(name, "")
    settings: Any = read_settings(kind)
    for name, field in kind.model_fields.items():
        assert getattr(settings, name) == field.get_default(call_default_factory=True), name


def test_an_empty_folder_of_saved_prefixes_and_an_empty_file_of_keys_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_SAVED_PREFIXES", "")
    monkeypatch.setenv("TANDEM_API_KEYS", "")
    assert ModelServiceSettings().saved_prefixes is None
    assert IdentitySettings().api_keys is None
    with pytest.raises(ValueError, match="anyone who reaches"):  # nobody is let in by it
        IdentitySettings().authentication("0.0.0.0")


def test_an_empty_part_of_the_profiles_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", f":{tmp_path}:")
    assert profile_folders() == [tmp_path]
    assert own_profiles() == tmp_path
