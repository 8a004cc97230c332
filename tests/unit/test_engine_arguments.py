"""From a process's settings to its engine: each back end takes its part of the arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.engine.api import GenerationRequest
from services.engine.registry import make_engine
from services.engine.remote.openai_engine import OpenAIEngine
from services.engine.remote.vllm_engine import VllmEngine, tokens_prompt
from services.engine.torch_engine.engine import TransformersEngine
from services.process.settings import ModelServiceSettings, read_settings
from tandem.method.profile import load_profile


def test_every_back_end_is_made_from_the_same_arguments(monkeypatch: pytest.MonkeyPatch, profiles_folder: Path) -> None:
    monkeypatch.setenv("TANDEM_VLLM_ARGS", '{"tensor_parallel_size": 2}')
    model = load_profile("scripted", (profiles_folder,)).slm
    arguments = read_settings(ModelServiceSettings).engine_arguments(model)
    assert isinstance(make_engine("transformers", arguments), TransformersEngine)
    assert isinstance(make_engine("transformers", arguments | {"compiled": False}), TransformersEngine)
    assert isinstance(make_engine("openai", arguments), OpenAIEngine)
    vllm = make_engine("vllm", arguments)
    assert isinstance(vllm, VllmEngine)
    assert vllm._settings.arguments == {"tensor_parallel_size": 2}
    with pytest.raises(ValueError, match="unknown engine 'nobody'"):
        make_engine("nobody", arguments)


def test_vllm_shares_prefixes_among_prompts_of_one_owner() -> None:
    owned = tokens_prompt(GenerationRequest("r", (1, 2), 3, owner="acme"))
    assert owned == {"prompt_token_ids": [1, 2], "cache_salt": "acme"}
    assert tokens_prompt(GenerationRequest("r", (1, 2), 3)) == {"prompt_token_ids": [1, 2]}


@pytest.mark.parametrize("value", ["[1]", "{", "3"])
def test_vllm_arguments_that_are_no_json_object_end_the_process_with_the_variable_name(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_VLLM_ARGS", value)
    with pytest.raises(SystemExit, match="2"):
        read_settings(ModelServiceSettings)
    assert capsys.readouterr().err.startswith("TANDEM_VLLM_ARGS: ")
