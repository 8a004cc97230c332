"""Which engine "auto" is, by device, files and what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.models.engine import registry
from services.models.engine.registry import choose, make_engine

GGUF, FOLDER, BOTH = ("some.gguf",), ("config.json",), ("some.gguf", "config.json")


@pytest.mark.parametrize(
    ("files", "has_gpu", "has_llamacpp", "has_vllm", "needs", "expected"),
    [
        (GGUF, False, True, False, {}, "llamacpp"),
        (BOTH, False, True, True, {}, "llamacpp"),
        (BOTH, False, True, False, {"generates": False}, "llamacpp"),
        (BOTH, False, True, False, {"generates": False, "needs_states": True}, "transformers"),
        (BOTH, False, False, False, {}, "transformers"),
        (GGUF, False, False, False, {}, "llamacpp"),  # whose error says what to install
        (FOLDER, False, True, True, {}, "transformers"),
        (BOTH, True, True, True, {}, "vllm"),
        (BOTH, True, True, True, {"generates": False}, "transformers"),
        (BOTH, True, True, False, {}, "transformers"),
        (GGUF, True, True, True, {}, "llamacpp"),
    ],
)
def test_the_engine_is_chosen_by_device_files_and_what_is_installed(
    files: tuple[str, ...], has_gpu: bool, has_llamacpp: bool, has_vllm: bool, needs: dict[str, bool], expected: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(registry, "has_llamacpp", lambda: has_llamacpp)
    monkeypatch.setattr(registry, "find_spec", lambda _: object() if has_vllm else None)
    assert choose({"path": tmp_path, "device": "cuda" if has_gpu else "cpu", **needs}) == expected


def test_the_registry_makes_what_was_chosen(tmp_path: Path) -> None:
    (tmp_path / "some.gguf").touch()
    engine = make_engine("auto", {"path": tmp_path, "name": "some", "device": "cpu", "engine_args": {}})
    assert type(engine).__name__ == "LlamaCppEngine"
