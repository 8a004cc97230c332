"""What of a caller's own body reaches an API: nothing but what is in the list of its protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typing_extensions as typing
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from tandem.openai.allow_list import Allowance
from tandem.openai.parameters import RefusedParameter
from tandem.openai.protocols import BODIES as READERS
from tandem.openai.protocols import pass_on
from tandem.openai.schemas import MOST_REPETITIONS

VENDORS = {
    "openai": CompletionCreateParamsBase,
    "responses": ResponseCreateParamsBase,
    "anthropic": MessageCreateParamsBase,
}
OTHERS = """
models provider plugins transforms route fallbacks preset web_search_options cache session_id trace usage api_base
api_key base_url api_version custom_llm_provider mock_response mock_tool_calls mock_delay num_retries
context_window_fallback_dict extra_headers extra_body extra_query drop_params allowed_openai_params caching guardrails
model_info deployment_id organization project timeout no-log litellm_metadata proxy_server_request ttl headers tags
kv_transfer_params priority best_of use_beam_search top_k min_p repetition_penalty length_penalty ignore_eos
min_tokens stop_token_ids include_stop_str_in_output skip_special_tokens spaces_between_special_tokens
truncate_prompt_tokens prompt_logprobs allowed_token_ids bad_words echo add_generation_prompt continue_final_message
add_special_tokens documents chat_template chat_template_kwargs mm_processor_kwargs structured_outputs guided_json
guided_regex guided_choice guided_grammar guided_decoding_backend guided_whitespace_pattern request_id
logits_processors return_tokens_as_token_ids return_token_ids cache_salt vllm_xargs data_parallel_rank media_io_kwargs
thinking_token_budget n_predict n_keep n_indent n_probs id_slot cache_prompt slot_id samplers grammar grammar_lazy
grammar_triggers json_schema lora mirostat mirostat_tau mirostat_eta dry_multiplier dynatemp_range typical_p
xtc_probability timings_per_token post_sampling_probs response_fields t_max_predict_ms image_data penalty_prompt
preserved_tokens parse_tool_calls reasoning_format reasoning_budget thinking_forced_open return_progress
speculative.n_max regex ebnf lora_path session_params bootstrap_host bootstrap_port bootstrap_room no_stop_trim
return_hidden_states separate_reasoning stream_reasoning custom_logit_processor custom_params rid input_embeds
extra_key routed_dp_rank structural_tag return_routed_experts max_dynamic_patch n logprobs top_logprobs functions
function_call modalities audio service_tier store prediction metadata moderation previous_response_id conversation
background prompt image access_programs stream_options client_metadata max_tokens max_completion_tokens
max_output_tokens model stream mcp_servers container inference_geo thread speed compaction billing_policy
fallback_credit_token user_profile_id workspace_id __proto__ tandem
"""
"""Fields of the public APIs, OpenRouter, LiteLLM, vLLM, llama.cpp and SGLang that may change who pays, the model or the
place, run or keep something at the vendor, or that none of the three public APIs has.
"""
DATA = "canary"

TEXT = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 524288}}}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {
        "messages": [
            {"role": "system", "content": "Be brief.", "name": "a"},
            {"role": "user", "content": [TEXT, {"type": "image_url", "image_url": {"url": "data:image/png;,AA"}}]},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
                {"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                                         {"type": "file", "file": {"file_data": "data:,x", "filename": "x"}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "f"}}]}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
        "logit_bias": {"50256": -100}, "temperature": 0.5, "stop": ["a", "b"], "reasoning_effort": "low",
        "prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    },
    "responses": {
        "instructions": "Be brief.", "temperature": 0.5, "include": ["reasoning.encrypted_content"],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"},
                                         {"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "x"}],
             "encrypted_content": "zzz"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            {"type": "custom_tool_call", "call_id": "d", "name": "apply_patch", "input": "***"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": "ok"},
            {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": [
                {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
                  {"type": "namespace", "name": "n", "description": "d", "tools": [
                      {"type": "function", "name": "g", "parameters": SCHEMA}]},
                  {"type": "local_shell"}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"a": "b"}, "truncation": "disabled",
    },
    "anthropic": {
        "system": [TEXT], "temperature": 0.5, "top_k": 3, "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"},
                                         {"type": "clear_tool_uses_20250919", "trigger": {"type": "x", "value": 3}}]},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "messages": [
            {"role": "user", "content": [TEXT, {"type": "image", "source": {
                "type": "base64", "media_type": "image/png", "data": "AA"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [TEXT]},
                                         {"type": "document", "title": "t", "citations": {"enabled": True},
                                          "source": {"type": "content", "content": [TEXT]}}]},
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
                  {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
    },
}  # fmt: skip
OWN_SERVER, VENDORS_OWN = Allowance(), Allowance(is_vendors=True)


def objects(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object whose fields mean something to an API, by its place."""
    if isinstance(value, list):
        for each in value:
            yield from objects(each, f"{place}[]")
    if isinstance(value, dict) and not place.endswith(("parameters", "schema", "input", "logit_bias", "metadata")):
        yield place, value
        for name, inner in value.items():
            yield from objects(inner, f"{place}.{name}".lstrip("."))


def fields_of(kind: Any, seen: set[Any]) -> Iterator[str]:
    """The names of all fields of a vendor's typed dictionary, with those of the types in it."""
    for each in typing.get_args(kind):
        yield from fields_of(each, seen)
    if typing.is_typeddict(kind) and kind not in seen:
        seen.add(kind)
        for name, inner in typing.get_type_hints(kind).items():
            yield name
            yield from fields_of(inner, seen)


@pytest.mark.parametrize("protocol", READERS)
def test_what_a_protocol_documents_and_starts_nothing_passes_as_it_came(protocol: str) -> None:
    body = BODIES[protocol]
    passed = pass_on(protocol, body, VENDORS_OWN)
    assert json.dumps(passed.body) == json.dumps(body)  # in the same order: a cached prefix is the same to the byte
    assert passed.dropped == ()


@pytest.mark.parametrize("protocol", READERS)
def test_a_field_of_any_api_is_in_the_list_of_its_place_or_does_not_arrive(protocol: str) -> None:
    others = set(OTHERS.split())
    names = {*others, *(name for kind in VENDORS.values() for name in fields_of(kind, set()))}
    assert len(names) > 400
    for index, (place, found) in enumerate(objects(BODIES[protocol])):
        for name in names - found.keys() - {"type"}:  # which chooses the shape
            body = json.loads(json.dumps(BODIES[protocol]))
            list(objects(body))[index][1][name] = DATA
            at = f"{place}.{name}".lstrip(".")
            try:
                passed = pass_on(protocol, body, VENDORS_OWN)
            except RefusedParameter:
                continue
            arrived = dict(list(objects(passed.body))[index][1]).get(name) == DATA
            assert arrived or passed.dropped == (at,) or passed.dropped == ("other",), at
            assert not arrived or (READERS[protocol].allows(at) and at not in others - {"top_k"}), at


@pytest.mark.parametrize("protocol", READERS)
def test_an_unknown_value_where_a_text_is_meant_carries_no_field_in(protocol: str) -> None:
    for index, (_, found) in enumerate(objects(BODIES[protocol])):
        for name, value in found.items():
            if not isinstance(value, str | int | float):
                continue
            body = json.loads(json.dumps(BODIES[protocol]))
            list(objects(body))[index][1][name] = {"api_base": DATA, "x": [{"model": DATA}]}
            try:
                assert DATA not in json.dumps(pass_on(protocol, body, VENDORS_OWN).body), name
            except RefusedParameter:
                continue


@pytest.mark.parametrize(
    ("protocol", "tool"),
    [
        *(("responses", tool) for tool in (
            {"type": "web_search"}, {"type": "web_search_preview"}, {"type": "file_search", "vector_store_ids": ["v"]},
            {"type": "code_interpreter", "container": {"type": "auto"}}, {"type": "image_generation"},
            {"type": "mcp", "server_label": "x", "server_url": "https://x.example"}, {"type": "shell"},
            {"type": "computer_use_preview"}, {"type": "tool_search"},
        )),
        *(("anthropic", tool) for tool in (
            {"type": "web_search_20250305", "name": "web_search"}, {"type": "web_fetch_20260318", "name": "web_fetch"},
            {"type": "code_execution_20260521", "name": "code_execution"},
            {"type": "mcp_toolset", "mcp_server_name": "x"}, {"type": "advisor_20260301", "model": "dearest"},
            {"type": "tool_search_tool_bm25_20251119", "name": "t"},
        )),
        ("openai", {"type": "web_search"}), ("openai", {"type": "openrouter:datetime"}),
    ],
)  # fmt: skip
def test_a_tool_that_the_vendor_runs_is_passed_on_with_a_fee_alone(protocol: str, tool: dict[str, Any]) -> None:
    body = {**BODIES[protocol], "tools": [tool]}
    kind = tool["type"]
    name = kind.partition("_20")[0].removesuffix("_preview").removesuffix("_toolset")
    for allowance in (Allowance(), Allowance(frozenset({name, kind})), Allowance(fees={name: 0.01}), VENDORS_OWN):
        passed = pass_on(protocol, body, allowance)
        assert passed.body["tools"] == []
        assert passed.dropped[-1:] in (((f"tools[type={kind}]",)), ("other",))
    allowed = Allowance(frozenset({name}), {name: 0.01})
    assert pass_on(protocol, body, allowed).body["tools"] == [tool]


def test_what_an_allowed_tool_did_is_a_part_of_the_conversation_and_else_refused() -> None:
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    body = {"messages": [{"role": "assistant", "content": [used, found]}]}
    assert pass_on("anthropic", body, Allowance(frozenset({"web_search"}), {"web_search": 0.01})).body == body
    for part in (used, found):
        with pytest.raises(RefusedParameter):
            pass_on("anthropic", {"messages": [{"role": "assistant", "content": [part]}]}, VENDORS_OWN)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("openai", {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
        ("responses", {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}),
        ("responses", {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}),
        ("responses", {"type": "item_reference", "id": "x"}),
        ("responses", {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]}),
        ("responses", {"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}),
        ("anthropic", {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}),
        ("anthropic", {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}),
        ("anthropic", {"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}),
        ("anthropic", {"role": "user", "content": [{"type": "tool_addition", "tool": {"type": "x"}}]}),
        ("anthropic", {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "container_upload", "file_id": "f"}]}]}),
    ],
)  # fmt: skip
def test_content_that_names_what_the_account_holds_or_starts_something_is_refused(
    protocol: str, message: dict[str, Any]
) -> None:
    body = {"input" if protocol == "responses" else "messages": [message]}
    with pytest.raises(RefusedParameter, match="is not supported"):
        pass_on(protocol, body, VENDORS_OWN)


def test_an_operator_allows_ids_of_files_by_name() -> None:
    part = {"type": "file", "file": {"file_id": "file-1"}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert pass_on("openai", body, Allowance(frozenset({"file_id"}))).body == body


SAFE = ["data:image/png;base64,AA", "https://example.com/a.png", "https://1.1.1.1/a?b=c", "https://[2606:4700::1111]/a"]
UNSAFE = [
    "http://example.com/a.png", "file:///etc/passwd", "ftp://example.com/a", "//example.com/a", "/etc/passwd", "",
    "https://user@example.com/a", "https://example.com\\@127.0.0.1/a", "https://example.com/ a", "https:///a",
    "HTTPS://example.com/a", "https://example.com:99999999/a", "gopher://x", "https://exämple.com/a",
    "https://127.0.0.1\t/a", " https://example.com/a",
]  # fmt: skip


@pytest.mark.parametrize("url", SAFE + UNSAFE)
def test_an_operators_own_server_is_given_data_and_https_addresses_alone(url: str) -> None:
    """Whether the hosts are public ones, the gateway asks (tests/unit/test_public_hosts.py)."""
    bodies = {
        "openai": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]},
        "responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
        "anthropic": {
            "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}]
        },
    }
    for protocol, body in bodies.items():
        if url in UNSAFE:
            with pytest.raises(RefusedParameter):
                pass_on(protocol, body, OWN_SERVER)
        else:
            assert pass_on(protocol, body, OWN_SERVER).body == body
    if url.startswith(("file:", "/", "ftp:")):
        with pytest.raises(RefusedParameter):
            pass_on("openai", bodies["openai"], VENDORS_OWN)


def test_an_image_that_is_no_object_passes_no_address() -> None:
    part = {"type": "image_url", "image_url": "file:///etc/passwd"}
    passed = pass_on("openai", {"messages": [{"role": "user", "content": [part]}]}, OWN_SERVER)
    assert passed.body == {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}


def test_an_operators_own_server_compiles_bounded_schemas_and_no_grammar_of_a_caller() -> None:
    custom = {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}
    body = {**BODIES["responses"], "tools": [custom, *BODIES["responses"]["tools"]]}
    own, vendors = pass_on("responses", body, OWN_SERVER), pass_on("responses", body, VENDORS_OWN)
    assert vendors.body["tools"][0] == custom
    assert vendors.schemas == ()
    assert own.body["tools"][0] == {"type": "custom", "name": "p"}
    assert own.dropped == ("tools[].format",)
    assert len(own.schemas) == 3  # two functions and the answer
    assert not any(str(MOST_REPETITIONS * 2) in json.dumps(schema) or "524288" in json.dumps(schema)
                   for schema in own.schemas)  # fmt: skip


@pytest.mark.parametrize("name", ["grammar", "guided_json", "guided_grammar", "structured_outputs", "json_schema"])
def test_a_callers_grammar_reaches_no_endpoint(name: str) -> None:
    body = {**BODIES["openai"], name: 'root ::= "a"{1,999999999}'}
    for allowance in (OWN_SERVER, VENDORS_OWN):
        assert name not in pass_on("openai", body, allowance).body


def test_a_beta_that_changes_the_price_is_named_and_left_out_unless_the_operator_allows_it() -> None:
    body = {"betas": ["interleaved-thinking-2025-05-14", "fast-mode-2026-02-01", "oauth-2025-04-20", "x\r\ny: z"]}
    passed = pass_on("anthropic", body, VENDORS_OWN)
    assert passed.body == {"betas": ["interleaved-thinking-2025-05-14"]}
    assert passed.dropped == ("betas[fast-mode-2026-02-01]", "betas[oauth-2025-04-20]", "other")
    allowed = Allowance(frozenset({"fast-mode-2026-02-01"}))
    assert pass_on("anthropic", body, allowed).body["betas"][-1] == "fast-mode-2026-02-01"


def test_a_field_that_starts_a_tool_needs_the_tools_fee() -> None:
    body = {"web_search_options": {}, "messages": []}
    assert "web_search_options" not in pass_on("openai", body, Allowance(frozenset({"web_search_options"}))).body
    allowed = Allowance(frozenset({"web_search"}), {"web_search": 0.03})
    assert pass_on("openai", body, allowed).body == body


@pytest.mark.parametrize("protocol", READERS)
def test_of_what_is_refused_only_a_bias_and_content_can_be_passed(protocol: str) -> None:
    reader = READERS[protocol]
    passed = {place for place, known in reader.parameters.items() if known.is_refused and reader.allows(place)}
    content = {place for place in reader.parameters if place.endswith("[type=*]")}
    assert passed == content | ({"logit_bias"} if protocol == "openai" else set())


def test_so_many_places_are_named_and_no_more() -> None:
    body = {f"field-{number}": 1 for number in range(100)}
    assert len(pass_on("openai", body, VENDORS_OWN).dropped) == 32
