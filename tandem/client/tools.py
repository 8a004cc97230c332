"""Tools and messages as callers write them, in the shape of OpenAI's chat completions, as messages of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tandem.client.contract import to_message
from tandem.v1 import tandem_pb2

Offered = Mapping[str, Any]
"""A tool: `name`, `description`, `parameters` (a JSON schema) and `strict`, or all that under `function`."""
_MODES = {
    "auto": tandem_pb2.TOOL_MODE_AUTO,
    "none": tandem_pb2.TOOL_MODE_NONE,
    "required": tandem_pb2.TOOL_MODE_REQUIRED,
}


def message(given: Mapping[str, Any]) -> tandem_pb2.Message:
    """From `role` and `content`, with `tool_calls` of the assistant's or the `tool_call_id` of a tool's."""
    return to_message(
        tandem_pb2.Message,
        speaker=tandem_pb2.Speaker.Value(f"SPEAKER_{given['role'].upper()}"),
        text=given.get("content") or "",
        tool_calls=[_call(call) for call in given.get("tool_calls") or ()],
        tool_call_id=given.get("tool_call_id") or "",
    )


def tool(given: Offered) -> tandem_pb2.Tool:
    about = given.get("function", given)
    parameters = about.get("parameters")
    return to_message(
        tandem_pb2.Tool,
        name=about["name"],
        description=about.get("description") or "",
        parameters="" if parameters is None else json.dumps(parameters, ensure_ascii=False),
        strict=bool(about.get("strict")),
    )


def tool_choice(choice: str, allowed: Sequence[str] = (), parallel: bool | None = None) -> tandem_pb2.ToolChoice:
    """`choice` is `auto`, `none`, `required`, or the name of the tool that must be called; only the `allowed` tools may
    be, if any.
    """
    mode = _MODES.get(choice, tandem_pb2.TOOL_MODE_REQUIRED)
    names = allowed if choice in _MODES else [choice]
    return to_message(tandem_pb2.ToolChoice, mode=mode, allowed=names, parallel=parallel)


def calls_as_data(calls: Sequence[tandem_pb2.ToolCall]) -> list[dict[str, Any]]:
    """What a caller repeats of an answer in its next request."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]


def _call(given: Mapping[str, Any]) -> tandem_pb2.ToolCall:
    about = given["function"]
    return to_message(tandem_pb2.ToolCall, id=given["id"], name=about["name"], arguments=about["arguments"])
