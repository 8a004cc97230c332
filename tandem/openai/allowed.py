"""What of a caller's own body is passed on to an API of the same protocol: a list of what is allowed, by protocol.

In the list is what the protocol's public API documents and what changes neither who pays, nor the model, nor where it
runs, and starts nothing at the vendor. What is not in it is left out and named, or refused where the text would mean
something else without it. An operator adds names (`llm.api.pass`, and a tenant's `pass`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from tandem.openai.allow_list import Allowance, Kinds, Leaf, Shape, Sieve, leads

_PLAIN, _NAMED, _DATA, _SCHEMA, _GRAMMAR, _URL, _ACCOUNT = (
    Leaf.PLAIN, Leaf.NAMED, Leaf.DATA, Leaf.SCHEMA, Leaf.GRAMMAR, Leaf.URL, Leaf.ACCOUNT
)  # fmt: skip


def _plain(names: str) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), _PLAIN)


def _text_or(items: Shape) -> Shape:
    return (_PLAIN, [items])


_CACHE = _plain("type ttl")
_BREAKPOINT = _plain("mode ttl")
_MARKS = {"cache_control": _CACHE, "prompt_cache_breakpoint": _BREAKPOINT}
_CACHE_OF_OPENAI = {**_plain("prompt_cache_key prompt_cache_retention"), "prompt_cache_options": _BREAKPOINT}

# -- chat completions -------------------------------------------------------------------------------------------------

_FUNCTION = {**_plain("name description strict"), "parameters": _SCHEMA}
_CHAT_PARTS = Kinds(
    {
        "text": {**_plain("type text"), **_MARKS},
        "refusal": _plain("type refusal"),
        "image_url": {"type": _PLAIN, "image_url": {"url": _URL, "detail": _PLAIN}, **_MARKS},
        "input_audio": {"type": _PLAIN, "input_audio": _plain("data format"), **_MARKS},
        "file": {"type": _PLAIN, "file": {**_plain("file_data filename"), "file_id": _ACCOUNT}, **_MARKS},
    },
    is_content=True,
)
_CHAT_CALL = {
    **_plain("id type index"),
    "function": _plain("name arguments"),
    "custom": _plain("name input"),
    "extra_content": _DATA,  # a thought's signature, which Google's API takes back with the call
}
_CHAT_MESSAGE = {
    **_plain("role name refusal tool_call_id reasoning_content reasoning"),
    "content": _text_or(_CHAT_PARTS),
    "tool_calls": [_CHAT_CALL],
    "reasoning_details": _DATA,  # of an earlier reply: OpenRouter's, which vendors need back with their calls
    "cache_control": _CACHE,
}
_CHAT_NAMED = {"type": _PLAIN, "function": _plain("name"), "custom": _plain("name")}
CHAT: Mapping[str, Shape] = {
    **_plain("temperature top_p seed stop parallel_tool_calls user safety_identifier presence_penalty"),
    **_plain("frequency_penalty reasoning_effort verbosity"),
    **_CACHE_OF_OPENAI,
    "logit_bias": _NAMED,
    "response_format": {"type": _PLAIN, "json_schema": {**_plain("name description strict"), "schema": _SCHEMA}},
    "messages": [_CHAT_MESSAGE],
    "tools": [
        Kinds(
            {
                "function": {"type": _PLAIN, "function": _FUNCTION, **_MARKS},
                "custom": {"type": _PLAIN, "custom": {**_plain("name description"), "format": _GRAMMAR}},
            }
        )
    ],
    "tool_choice": (_PLAIN, {**_CHAT_NAMED, "allowed_tools": {"mode": _PLAIN, "tools": [_CHAT_NAMED]}}),
}  # fmt: skip

# -- responses --------------------------------------------------------------------------------------------------------

_INPUT_PARTS = Kinds(
    {
        "input_text": {**_plain("type text"), **_MARKS},
        "output_text": {**_plain("type text"), "annotations": _DATA, "logprobs": _DATA},
        "refusal": _plain("type refusal"),
        "input_image": {**_plain("type detail"), "image_url": _URL, "file_id": _ACCOUNT, **_MARKS},
        "input_file": {
            **_plain("type detail file_data filename"), "file_url": _URL, "file_id": _ACCOUNT, **_MARKS
        },
        "input_audio": {"type": _PLAIN, "input_audio": _plain("data format")},
    },
    is_content=True,
)  # fmt: skip
_CALLED = _plain("type id call_id name namespace status")
_OUTPUT = {**_plain("type id call_id name namespace status"), "output": _text_or(_INPUT_PARTS)}
_THOUGHT = [_plain("type text")]
_ITEMS = Kinds(
    {
        "message": {**_plain("type role id status phase"), "content": _text_or(_INPUT_PARTS)},
        "reasoning": {**_plain("type id status encrypted_content"), "summary": _THOUGHT, "content": _THOUGHT},
        "function_call": {**_CALLED, "arguments": _PLAIN},
        "function_call_output": _OUTPUT,
        "custom_tool_call": {**_CALLED, "input": _PLAIN},
        "custom_tool_call_output": _OUTPUT,
        "local_shell_call": {**_CALLED, "action": {
            **_plain("type command timeout_ms user working_directory"), "env": _NAMED}},
        "local_shell_call_output": _OUTPUT,
        "apply_patch_call": {**_CALLED, "operation": _plain("type path diff")},
        "apply_patch_call_output": _OUTPUT,
    },
    is_content=True,
    default="message",
)  # fmt: skip
_RESPONSES_FUNCTION = {**_plain("type name description strict defer_loading"), "parameters": _SCHEMA}
_CUSTOM = {**_plain("type name description defer_loading"), "format": _GRAMMAR}
_NAMED_TOOL = _plain("type name namespace")
RESPONSES: Mapping[str, Shape] = {
    **_plain("instructions temperature top_p parallel_tool_calls user safety_identifier truncation max_tool_calls"),
    **_plain("include"),
    **_CACHE_OF_OPENAI,
    "metadata": _NAMED,
    "reasoning": _plain("effort summary generate_summary context"),
    "text": {"verbosity": _PLAIN, "format": {**_plain("type name description strict"), "schema": _SCHEMA}},
    "input": _text_or(_ITEMS),
    "tools": [
        Kinds(
            {
                "function": _RESPONSES_FUNCTION,
                "custom": _CUSTOM,
                "namespace": {**_plain("type name description"), "tools": [
                    Kinds({"function": _RESPONSES_FUNCTION, "custom": _CUSTOM})]},
                "local_shell": _plain("type"),  # the caller runs these
                "apply_patch": _plain("type"),
            }
        )
    ],
    "tool_choice": (_PLAIN, {**_NAMED_TOOL, "mode": _PLAIN, "tools": [_NAMED_TOOL]}),
}  # fmt: skip

# -- messages ---------------------------------------------------------------------------------------------------------

_CITED = _plain(
    "type cited_text document_index document_title start_char_index end_char_index start_page_number end_page_number "
    "start_block_index end_block_index search_result_index encrypted_index url title source"
)
_TEXT_BLOCK = {**_plain("type text"), "citations": [_CITED], "cache_control": _CACHE}
_BASE64, _FROM_URL, _FILE = _plain("type media_type data"), {"type": _PLAIN, "url": _URL}, {"file_id": _ACCOUNT}
_IMAGE = {
    "type": _PLAIN,
    "source": Kinds({"base64": _BASE64, "url": _FROM_URL, "file": _FILE}, is_content=True),
    "cache_control": _CACHE,
}
_IN_DOCUMENT = Kinds({"text": _TEXT_BLOCK, "image": _IMAGE}, is_content=True)
_DOCUMENT = {
    **_plain("type title context"),
    "source": Kinds(
        {
            "base64": _BASE64,
            "text": _BASE64,
            "content": {"type": _PLAIN, "content": _text_or(_IN_DOCUMENT)},
            "url": _FROM_URL,
            "file": _FILE,
        },
        is_content=True,
    ),
    "citations": _plain("enabled"),
    "cache_control": _CACHE,
}
_SEARCH_RESULT = {
    **_plain("type source title"),
    "content": [Kinds({"text": _TEXT_BLOCK}, is_content=True)],
    "citations": _plain("enabled"),
    "cache_control": _CACHE,
}
_READ: Mapping[str, Shape] = {
    "text": _TEXT_BLOCK, "image": _IMAGE, "document": _DOCUMENT, "search_result": _SEARCH_RESULT,
    "tool_reference": {**_plain("type tool_name"), "cache_control": _CACHE},
}  # fmt: skip
_BLOCKS = Kinds(
    {
        **_READ,
        "thinking": _plain("type thinking signature"),
        "redacted_thinking": _plain("type data"),
        "tool_use": {**_plain("type id name"), "input": _DATA, "caller": _plain("type"), "cache_control": _CACHE},
        "tool_result": {
            **_plain("type tool_use_id is_error"),
            "content": _text_or(Kinds(_READ, is_content=True)),
            "cache_control": _CACHE,
        },
    },
    is_content=True,
)
_FORMAT = {"type": _PLAIN, "schema": _SCHEMA}
_EDIT = {
    **_plain("type clear_tool_inputs exclude_tools"),
    "keep": (_PLAIN, _plain("type value")),
    "trigger": _plain("type value"),
    "clear_at_least": _plain("type value"),
}
_CALLERS_TOOL = {
    **_plain("type name display_width_px display_height_px display_number enable_zoom max_characters"),
    "cache_control": _CACHE,
}
MESSAGES: Mapping[str, Shape] = {
    **_plain("temperature top_p top_k stop_sequences"),
    "betas": Leaf.BETAS,
    "system": _text_or(Kinds({"text": _TEXT_BLOCK}, is_content=True)),
    "messages": [{"role": _PLAIN, "content": _text_or(_BLOCKS)}],
    "metadata": _plain("user_id"),
    "thinking": _plain("type budget_tokens display"),
    "output_config": {"effort": _PLAIN, "format": _FORMAT, "task_budget": _plain("type total remaining")},
    "output_format": _FORMAT,
    "context_management": {"edits": [Kinds({"clear_tool_uses_": _EDIT, "clear_thinking_": _EDIT})]},
    "diagnostics": _plain("previous_message_id"),
    "cache_control": _CACHE,
    "tools": [
        Kinds(
            {
                "custom": {
                    **_plain("type name description strict defer_loading eager_input_streaming"),
                    "input_schema": _SCHEMA, "input_examples": _DATA, "cache_control": _CACHE,
                },
                # The caller runs these, by schemas that the model has learnt.
                **dict.fromkeys(("bash_", "text_editor_", "computer_", "memory_"), _CALLERS_TOOL),
            },
            default="custom",
        )
    ],
    "tool_choice": _plain("type name disable_parallel_tool_use"),
}  # fmt: skip
SHAPES: Mapping[str, Mapping[str, Shape]] = {"openai": CHAT, "responses": RESPONSES, "anthropic": MESSAGES}
"""By the protocol of a body."""

# -- by protocol ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PassedBody:
    """What an API is sent of a caller's body, as a value and as `json`. `hosts`: of addresses that have to be public
    ones; `schemas`: what the API may compile; `tools`: what the vendor may run, by name.
    """

    body: dict[str, Any]
    json: bytes
    dropped: tuple[str, ...]
    hosts: frozenset[str]
    schemas: tuple[dict[str, Any], ...]
    tools: frozenset[str]


def pass_on(protocol: str, body: Mapping[str, Any], allowance: Allowance) -> PassedBody:
    """Raises RefusedParameter where a part that may not pass changes what the text means."""
    sieve = Sieve(allowance)
    passed = sieve.passed(body, SHAPES[protocol])
    return PassedBody(
        body=passed,
        json=to_json(passed),
        dropped=sieve.dropped,
        hosts=frozenset(sieve.hosts),
        schemas=tuple(sieve.schemas),
        tools=frozenset(sieve.tools),
    )


def allows(protocol: str, place: str) -> bool:
    """Whether an API of the protocol is given what stands at a place, such as `tools[].cache_control`."""
    return protocol in SHAPES and leads(SHAPES[protocol], place)
