"""How endpoints are addressed, and what follows from what they can do."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.gateway.admission import Admission
from services.gateway.batches.lines import BadLine
from services.gateway.batches.lines import parse as parse_line
from services.gateway.scope import scope
from services.models.engine.remote.refusals import retry_after
from services.shared.identity.caller import ANONYMOUS
from tandem.endpoints.address import AddressError, parse
from tandem.endpoints.key import endpoint_key
from tandem.endpoints.probe import Found
from tandem.endpoints.profile import Role, pair_name, parse_prices, profile_text, write_profile
from tandem.errors import SetupError
from tandem.local.layout import FURTHER_EXECUTORS, LOCAL_PROCESSES, Layout
from tandem.local.programs import left_out, program, withheld
from tandem.method.errors import InvalidArgument
from tandem.method.profile.endpoint import Api, Capabilities
from tandem.method.profile.prices import RolePrices
from tandem.method.profile.profile import Profile, load_profile, profile_of
from tandem.method.request.events import AnswerText
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import answer_text
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.parameters import RefusedParameter
from tandem.openai.responses_request import ResponsesRequest
from tandem.v1 import tandem_pb2

ALL = Capabilities(continues="flag", prompt_scores=True, json_schema=True, tools=True, usage="continuous")


@pytest.mark.parametrize(
    ("text", "url", "model", "key", "protocol"),
    [
        ("openai:gpt-4o", "https://api.openai.com/v1", "gpt-4o", "OPENAI_API_KEY", "openai"),
        (
            "anthropic:claude-haiku-4-5",
            "https://api.anthropic.com",
            "claude-haiku-4-5",
            "ANTHROPIC_API_KEY",
            "anthropic",
        ),
        ("openrouter:a/b:free", "https://openrouter.ai/api/v1", "a/b:free", "OPENROUTER_API_KEY", "openai"),
        ("http://127.0.0.1:11434/v1#qwen2.5-coder:7b", "http://127.0.0.1:11434/v1", "qwen2.5-coder:7b", "", "openai"),
        ("responses:gpt-5", "https://api.openai.com/v1", "gpt-5", "OPENAI_API_KEY", "responses"),
        ("responses:http://127.0.0.1:8080/v1#m", "http://127.0.0.1:8080/v1", "m", "", "responses"),
        ("https://api.openai.com/v1#m", "https://api.openai.com/v1", "m", "OPENAI_API_KEY", "openai"),
        ("anthropic:http://127.0.0.1:8080#m", "http://127.0.0.1:8080", "m", "", "anthropic"),
        ("https://api.groq.com/openai/v1#m", "https://api.groq.com/openai/v1", "m", "GROQ_API_KEY", "openai"),
    ],
)
def test_a_text_names_an_endpoint(
    text: str, url: str, model: str, key: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    api = parse(text).api
    assert api is not None
    assert (api.url, api.model, api.key, api.protocol) == (url, model, key, protocol)


@pytest.mark.parametrize(
    "text", ["gpt-4o", "http://host/v1", "ftp:x", "llamacpp:missing.gguf", "http://me:secret@host/v1#m", ""]
)
def test_a_text_that_names_none_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse(text)
    assert "secret" not in str(refused.value).replace("has no user, query", "") or "@" in text


FURTHER = {process.name for process in FURTHER_EXECUTORS.values()}


def test_a_vendors_price_is_found_and_a_server_of_ones_own_has_none() -> None:
    mini = parse("openai:gpt-4o-mini").price
    assert mini is not None
    assert (mini.input, mini.output) == (0.15, 0.6)
    assert parse("http://127.0.0.1:8000/v1#gpt-4o-mini").price is None


def test_a_key_is_named_and_never_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="never the key itself"):
        Api(url="http://h/v1", key="sk-abc-def")
    file = tmp_path / "key"
    with pytest.raises(SetupError, match="cannot be read"):
        endpoint_key(Api(url="http://h/v1", key=f"file:{file}"))
    file.write_text("from-a-file\n")
    assert endpoint_key(Api(url="http://h/v1", key=f"file:{file}")) == "from-a-file"
    monkeypatch.setenv("A_KEY", "from-a-variable")
    assert endpoint_key(Api(url="http://h/v1", key="A_KEY")) == "from-a-variable"
    assert endpoint_key(Api(url="http://h/v1")) == ""


def test_hand_off_scorers_and_exactness_follow_from_what_an_endpoint_can() -> None:
    assert (ALL.handoff, ALL.scorers, ALL.cut_bill) == ("continuation", ("prompt", "words"), "exact")
    assert ALL.losses() == []
    least = Capabilities(usage="none", takes_temperature=False)
    assert (least.handoff, least.scorers, least.cut_bill) == ("brief", ("words",), "estimated")
    assert len(least.losses()) == 6  # a bill that is always estimated is, too, where a stream is cut


def test_a_written_profile_is_read_as_two_endpoints_without_a_scorer(tmp_path: Path) -> None:
    large = Role(parse("openai:gpt-4o"), Found(ALL, context_length=128000))
    small = Role(parse("http://127.0.0.1:8000/v1#qwen2.5-7b"), Found(Capabilities()))
    write_profile(tmp_path, "mine", large, small)
    profile = load_profile("mine", (tmp_path,))
    assert profile.stop.is_off
    assert profile.llm.api is not None
    assert profile.llm.api.can == ALL
    assert profile.slm.parameters == 7e9
    assert profile.prices.unknown == ["slm", "scorer"]
    assert profile.prices.of("llm").input == 2.5
    assert profile.max_question_tokens < 16384


def test_limits_are_what_the_endpoint_says_or_the_price_list() -> None:
    def limits(*roles: Role) -> tuple[int, int]:
        profile = profile_of(profile_text("mine", *roles), Path("mine"))
        return profile.max_question_tokens, profile.execution.max_tokens

    said = Role(parse("http://127.0.0.1:8000/v1#a"), Found(ALL, 400_000, 64_000))
    listed = Role(parse("anthropic:claude-haiku-4-5"), Found(ALL))
    silent = Role(parse("http://127.0.0.1:8000/v1#b"), Found(ALL))
    assert limits(said, said) == (400_000 - 64_000 - 4096, 64_000)
    assert limits(said, listed) == (200_000 - 50_000 - 4096, 50_000)  # a quarter of 200,000; the list says 64,000
    assert limits(said, silent) == (16_384 - 2 * 4096, 4096)


def two_apis(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    write_profile(folder, "mine", Role(parse("openai:a"), Found(ALL)), Role(parse("anthropic:b"), Found(ALL)))
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(folder))
    return load_profile("mine", (folder,))


def test_each_model_of_a_pair_without_a_scorer_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = two_apis(tmp_path, monkeypatch)
    small = profile.execution.model_copy(update={"when_unavailable": "small"})
    admission = Admission({"mine": profile.model_copy(update={"execution": small})}, "mine", {"mine": len})

    def planned(model: str) -> Plan:
        body = ChatCompletionRequest.model_validate({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
        asked = body.as_solve_request("r")
        scope(asked, ANONYMOUS)
        return admission.admit(admission.checked(asked), "").plan

    named = replace(planned("mine"), when_unavailable="fail")
    assert planned("mine/large") == planned("mine@1") == named
    assert (planned("mine").llm_patience_seconds, named.llm_patience_seconds) == (0, named.unavailable_timeout_seconds)
    assert (planned("mine/slm").stages, planned("mine/slm").llm_finishes) == ([], False)
    with pytest.raises(InvalidArgument, match="no scorer"):
        planned("mine@0.5")


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
NAMED = json.dumps({"title": "a", **SCHEMA})


@pytest.mark.parametrize(
    ("model", "own", "format_", "checked"),
    [
        ("mine", {}, "whole", []),
        ("mine/large", {}, "whole", []),
        ("mine", {"checks": ["json_schema:{}"]}, "whole", ["{}"]),
        ("mine", {"max_llm_tokens": 0}, "json", [NAMED]),
        ("mine/slm", {}, "json", [NAMED]),
    ],
)
def test_json_that_the_large_models_api_holds_to_its_schema_is_read_by_nobody_here(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    own: dict[str, object],
    format_: str,
    checked: list[str],
) -> None:
    admission = Admission({"mine": two_apis(tmp_path, monkeypatch)}, "mine", {"mine": len})
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "response_format": form, "tandem": own}
    asked = ChatCompletionRequest.model_validate(body).as_solve_request("r")
    asked.native.CopyFrom(tandem_pb2.Native(protocol="openai", body=json.dumps(body)))
    scope(asked, ANONYMOUS)
    task = admission.admit(admission.checked(asked), "")
    assert task.plan.answer_format == format_
    assert (answer_text(task) is AnswerText.INSIGHT) == (format_ == "whole")
    assert [check.argument for check in task.checks] == checked


STOPS: list[tuple[str, dict[str, object], str]] = [
    ("mine/large", {"threshold": 0.6}, "stop.threshold"),
    ("mine/large@0.6", {}, "stop.threshold"),
    ("mine/large", {"thresholds": {"1": 0.6}}, "stop.thresholds"),
    ("mine/large", {"max_stage": 1}, "stop.max_stage"),
    ("mine/slm", {"max_stage": 1}, "stop.max_stage"),
    ("mine@0.5", {"threshold": 0.6}, "tandem.threshold"),
    ("mine/large", {"threshold": 1, "thresholds": {"1": 1}}, ""),
    ("mine/slm", {"max_stage": 0}, ""),
    ("mine@0.6", {"threshold": 0.6}, ""),
]


@pytest.mark.parametrize(("model", "own", "refused"), STOPS)
def test_a_stop_that_contradicts_the_models_name_is_refused_by_name_in_every_api(
    model: str, own: dict[str, object], refused: str
) -> None:
    asked = {"model": model, "tandem": own}
    chat = {**asked, "messages": [{"role": "user", "content": "Hi"}]}
    lines: list[dict[str, object]] = [
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": chat},
        *([] if "@" in model else [{"question": "Hi", "profile": model, **own}]),
    ]
    made: list[Callable[[], tandem_pb2.SolveRequest]] = [
        lambda: ChatCompletionRequest.model_validate(chat).as_solve_request("r"),
        lambda: ResponsesRequest.model_validate({**asked, "input": "Hi"}).as_solve_request("r"),
        lambda: MessagesRequest.model_validate({**chat, "max_tokens": 9}).as_solve_request("r"),
        *(lambda line=line: parse_line(json.dumps(line).encode()).request for line in lines),
    ]

    def scoped(make: Callable[[], tandem_pb2.SolveRequest]) -> tandem_pb2.SolveRequest:
        request = make()
        scope(request, ANONYMOUS)
        return request

    for make in made:
        if not refused:
            request = scoped(make)
            assert (request.profile, request.stop.max_stage, len(request.stop.thresholds)) == ("mine", 0, 0)
            continue
        with pytest.raises((InvalidArgument, RefusedParameter, BadLine), match=r"leave it out|give one") as error:
            scoped(make)
        assert refused in str(error.value)


def test_a_key_reaches_only_the_process_that_calls_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_apis(tmp_path, monkeypatch)
    layout = Layout(tmp_path, "mine", {})
    keys = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
    seen = {process.name: keys - withheld(layout, process).keys() for process in LOCAL_PROCESSES}
    assert {name: has for name, has in seen.items() if has} == {
        "insight-generator": {"OPENAI_API_KEY"},
        "slm-executor": {"ANTHROPIC_API_KEY"},
        "model-apis": keys,
    }


def test_one_process_serves_both_models_where_others_run_them_and_the_worker_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = two_apis(tmp_path, monkeypatch)
    unneeded = left_out(profile, tls=False)
    assert unneeded == {"insight-generator", "slm-executor", "sufficiency-scorer", *FURTHER}
    ports = {process.name: dict(process.ports) for process in LOCAL_PROCESSES if process.name not in unneeded}
    layout = Layout(tmp_path, "mine", ports)
    [worker] = [process for process in layout.processes if process.name == "worker"]
    environment = program(layout, worker).environment
    joined = layout.address("model-apis")
    assert environment["TANDEM_INSIGHT_GENERATOR"] == environment["TANDEM_SLM_EXECUTOR"] == joined
    assert "TANDEM_SUFFICIENCY_SCORER" not in environment


def test_each_role_has_a_process_where_one_model_runs_here_and_where_each_has_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = two_apis(tmp_path, monkeypatch)
    here = profile.model_copy(update={"small": (profile.slm.model_copy(update={"api": None}),)})
    unneeded = {"model-apis", "sufficiency-scorer", *FURTHER}
    assert left_out(here, tls=False) == left_out(profile, tls=True) == unneeded


def test_prices_of_ones_own_and_the_endpoints_own_list_come_before_the_vendors() -> None:
    found = Found(Capabilities(), usd=RolePrices(1.0, 1.0, 2.0))
    own = Role(parse("openai:gpt-4o"), found, parse_prices("3/4"))
    text = tomllib.loads(profile_text("p", own, Role(parse("openai:gpt-4o"), found)))
    assert text["prices"]["llm"] == {"input": 3.0, "cached_input": 3.0, "output": 4.0}
    assert text["prices"]["slm"] == {"input": 1.0, "cached_input": 1.0, "output": 2.0}
    with pytest.raises(AddressError, match="is no price"):
        parse_prices("cheap")


def test_a_pair_is_called_by_both_names() -> None:
    assert (
        pair_name(parse("openrouter:meta/Llama-3.3-70B"), parse("openai:gpt-4o-mini"))
        == "meta-llama-3.3-70b--gpt-4o-mini"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5), ({}, None), ({"retry-after": "soon"}, None),
     ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0)],
)  # fmt: skip
def test_a_time_to_wait_is_read_in_each_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
