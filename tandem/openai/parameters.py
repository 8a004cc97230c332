"""What happens to each parameter of OpenAI's chat completions: it is used, or refused by name unless it asks for nothing.

docs/openai-parameters.md shows this table, and a test compares the two with each other and with the parameters of OpenAI's own client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USED: dict[str, str] = {
    "model": "a profile, or `profile@0.6` with the threshold at which a stage suffices",
    "messages": "text of system, developer, user, assistant and tool, and the assistant's `tool_calls`; system messages at the beginning are joined, later ones are read as the user's; the last one is the user's or a tool's",
    "stream": "server-sent events",
    "stream_options": "`include_usage` adds a last chunk with the usage",
    "max_tokens": "cap of the answer's tokens; the older name of `max_completion_tokens`",
    "max_completion_tokens": "cap of the answer's tokens, where it is below the profile's",
    "temperature": "0 to 2, in both models; not given: 0, which is greedy",
    "top_p": "above 0, at most 1, in both models",
    "seed": "seed of the draw, from 0",
    "stop": "a text, or at most 4, each of 1 to 64 characters: the answer ends before the first of them",
    "response_format": "`text`, `json_object` or `json_schema`: both models are held to it; with `tools` an answer that calls none is",
    "tools": "functions that the answer may call, at most 128; `strict`: a schema that no text can be held to in full is refused, else it is held as far as possible",
    "tool_choice": "`auto`, `none`, `required`, a function's name, or `allowed_tools`",
    "parallel_tool_calls": "false: one call at most",
    "user": "the attribute `enduser.id` of the request's span, exported with `TANDEM_TELEMETRY_TEXT=true` only; the tenant comes from the credential",
    "metadata": "at most 16 texts, repeated in the reply; attributes of the request's span, exported with `TANDEM_TELEMETRY_TEXT=true` only",
    "tandem": "Tandem's own options, see below",
}

NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "one answer per request"),
    "logprobs": ((False,), "two models write the answer"),
    "top_logprobs": ((0,), "two models write the answer"),
    "logit_bias": (({},), "not supported by every engine"),
    "presence_penalty": ((0,), "not supported by every engine"),
    "frequency_penalty": ((0,), "not supported by every engine"),
    "functions": (([],), "use `tools`"),
    "function_call": (("none",), "use `tool_choice`"),
    "modalities": ((["text"],), "text only"),
    "audio": ((), "text only"),
    "prediction": ((), "not supported"),
    "reasoning_effort": ((), "the stop rule decides how much is written: use `model@threshold`"),
    "verbosity": ((), "say it in a message"),
    "service_tier": (("auto", "default"), "there are no tiers"),
    "store": ((False,), "nothing is kept beyond the request's own record"),
    "web_search_options": ((), "nothing is searched"),
    "moderation": ((), "nothing is moderated"),
    "prompt_cache_key": ((), "what has the same beginning is found without a key"),
    "prompt_cache_options": ((), "what has the same beginning is found without options"),
    "prompt_cache_retention": ((), "caches have the engine's own limits"),
    "safety_identifier": ((), "use `user`"),
}
"""Refused by name, except for these values (and null), which ask for nothing."""


RESPONSES_USED: dict[str, str] = {
    "model": USED["model"],
    "input": "a text, or messages of text, with items `function_call` and `function_call_output`; the last one is the user's or an output",
    "instructions": "the system message before the input",
    "stream": USED["stream"],
    "max_output_tokens": USED["max_completion_tokens"],
    "temperature": USED["temperature"],
    "top_p": USED["top_p"],
    "text": "`format`: " + USED["response_format"],
    "tools": USED["tools"],
    "tool_choice": USED["tool_choice"],
    "parallel_tool_calls": USED["parallel_tool_calls"],
    "user": USED["user"],
    "metadata": USED["metadata"],
    "tandem": USED["tandem"],
}

RESPONSES_NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "previous_response_id": ((), "this process keeps no state: send the whole conversation"),
    "conversation": ((), "this process keeps no state: send the whole conversation"),
    "store": ((False,), "nothing is kept beyond the request's own record"),
    "background": ((False,), "use the gRPC API, or `tandem.keep_running`"),
    "background_options": ((), "use the gRPC API, or `tandem.keep_running`"),
    "include": (([],), "there is nothing more to include"),
    "reasoning": ((), "the stop rule decides how much is written: use `model@threshold`"),
    "max_tool_calls": ((), "nothing is called here: the caller runs its tools"),
    "access_programs": ((), "nothing is called here: the caller runs its tools"),
    "prompt": ((), "there are no stored prompts"),
    "image": ((), "text only"),
    "stream_options": ((), "not supported"),
    "truncation": (("disabled",), "nothing is cut: a conversation that is too long is refused"),
    "context_management": ((), "nothing is cut: a conversation that is too long is refused"),
    "top_logprobs": ((0,), "two models write the answer"),
    **{
        name: NEUTRAL[name]
        for name in (
            "service_tier", "moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
        )
    },
}  # fmt: skip


class RefusedParameter(Exception):
    """A parameter that cannot be honoured; `param` names it as OpenAI's errors do."""

    def __init__(self, param: str, message: str, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param, self.code = param, code


Neutral = Mapping[str, tuple[tuple[Any, ...], str]]


def used_parameters(
    body: Mapping[str, Any], known: Mapping[str, str] = USED, neutral: Neutral = NEUTRAL
) -> dict[str, Any]:
    """The body without nulls and without what asks for nothing. Raises RefusedParameter for any other parameter."""
    used: dict[str, Any] = {}
    for name, value in body.items():
        if name in known:
            if value is not None:
                used[name] = value
        elif name not in neutral:
            raise RefusedParameter(name, f"Unrecognized request argument supplied: {name}", "unknown_parameter")
        elif value is not None:
            _refuse_unless_neutral(name, value, *neutral[name])
    return used


def _refuse_unless_neutral(name: str, value: Any, values: tuple[Any, ...], reason: str) -> None:
    if not any(value == neutral and isinstance(value, bool) == isinstance(neutral, bool) for neutral in values):
        raise RefusedParameter(name, f"{name} = {value!r} is not supported: {reason}")
