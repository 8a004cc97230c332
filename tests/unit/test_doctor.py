"""What `tandem doctor` says of models, profiles, and of the sandbox for kernels that this machine does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tandem.cli.local_checks import judge_isolation, local_checks
from tandem.local.models import fault_of

_NO_NAMESPACES = {"namespaces": "unshare: Operation not permitted"}
IN_A_POD = {"holds": ["landlock", "seccomp", "rlimits"], "lacks": _NO_NAMESPACES, "is_weak": False}
OLD_POD = {
    "holds": ["seccomp", "rlimits"],
    "lacks": _NO_NAMESPACES | {"landlock": "Function not implemented"},
    "is_weak": True,
}
NOTHING = {
    "holds": ["rlimits"],
    "lacks": dict.fromkeys(("namespaces", "landlock", "seccomp"), "not Linux"),
    "is_weak": True,
}


def test_the_layers_that_hold_are_named_with_the_reason_for_each_other_one() -> None:
    check = judge_isolation(IN_A_POD, allowed="")
    assert check.ok
    assert check.found == "landlock, seccomp, rlimits (no namespaces: unshare: Operation not permitted)"


@pytest.mark.parametrize("isolation", [NOTHING, OLD_POD])
def test_where_nothing_guards_files_the_local_stack_cannot_start(isolation: dict[str, Any]) -> None:
    check = judge_isolation(isolation, allowed="")
    assert not check.ok
    assert check.required
    assert "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX=true" in check.advice


@pytest.mark.parametrize("allowed", ["true", "1", "Yes"])
def test_a_weak_sandbox_that_the_user_allows_is_a_warning(allowed: str) -> None:
    check = judge_isolation(NOTHING, allowed)
    assert not check.ok
    assert not check.required


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole one."""
    monkeypatch.setenv("TANDEM_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "models" / "scripted-llm"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tandem.json"):
        (folder / name).write_text("{}")
    save_file({"weight": np.zeros(64)}, folder / "model.safetensors")
    return folder


def test_a_model_is_judged_by_its_content_and_not_by_its_mark(model: Path) -> None:
    assert fault_of("scripted-llm", "transformers") == ""
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])  # as a full disk leaves it
    assert "has a broken model.safetensors" in fault_of("scripted-llm", "transformers")
    weights.unlink()
    assert fault_of("scripted-llm", "transformers") == "has no weights"
    (model / "tokenizer.json").unlink()
    assert fault_of("scripted-llm", "transformers") == "has no tokenizer.json and no weights"
    assert fault_of("another", "transformers") == "is missing"


def test_the_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_ENGINE", "llamacpp")
    found = {check.name: check for check in local_checks()}
    assert found["engine"].found.startswith("llamacpp: llama.cpp")
    monkeypatch.setenv("TANDEM_ENGINE", "transformers")
    found = {check.name: check for check in local_checks()}
    assert found["engine"].found == "transformers"
    monkeypatch.delenv("TANDEM_ENGINE")
    found = {check.name: check for check in local_checks()}
    assert found["engine"].found.startswith("auto")


def test_a_gguf_file_is_judged_by_how_it_begins(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "config.json").unlink()
    (model / "some.gguf").write_bytes(b"GGUF...")
    assert fault_of("scripted-llm", "llamacpp") == ""
    assert fault_of("scripted-llm", "transformers") == "has no config.json and no weights"
    (model / "some.gguf").write_bytes(b"<html>")
    assert "has a broken some.gguf" in fault_of("scripted-llm", "llamacpp")


def test_profiles_on_any_path_are_checked_with_their_models(
    model: Path, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profiles_folder))
    found = {check.name: check for check in local_checks("scripted")}
    assert found["profiles"].ok
    assert str(profiles_folder) in found["profiles"].found
    # The catalogue does not have it.
    assert found["models"].found == "scripted-slm is missing"
    assert "put scripted-slm, which the catalogue does not have, into" in found["models"].advice
    assert not {check.name: check for check in local_checks("nobody")}["profiles"].ok


def test_a_broken_profile_is_named_with_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/profile.toml").write_text("[llm\n")
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(tmp_path))
    found = {check.name: check for check in local_checks("mine")}
    assert "mine/profile.toml is no valid TOML" in found["profiles"].found
    assert not found["models"].ok
