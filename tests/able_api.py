"""Servers that can do exactly what they are told, in each protocol: each capability present and absent, as vendors and
servers differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem.method.profile.endpoint import Capabilities
from tests.recorded_api import Answer, Events, responses_text, responses_usage

MODEL = "m"
EVERYTHING = Capabilities(
    continues="last_message",
    prompt_scores=True,
    tokenizes=True,
    json_schema=True,
    tools=True,
    usage="timings",
)
_PLAIN_TOKENS, _TURN_TOKENS = 20, 5  # a turn that is closed, and another that is opened, take five more
_TIMINGS = {"prompt_n": 20, "cache_n": 0, "predicted_n": 1}


def openai_server(can: Capabilities) -> Callable[[str, dict[str, Any]], Answer]:
    """Refuses a field that it does not know, but for those that real servers ignore."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if path.endswith("/tokenize") and can.tokenizes:
            return Answer({"tokens": [1, 2, 3]})
        if path.endswith("/v1/completions") and can.prompt_scores:
            return Answer({"choices": [{"text": "4", "prompt_logprobs": [None, {"7": -0.1}]}]})
        if not path.endswith("/chat/completions"):
            return Answer({"error": {"message": "not found"}}, status=404)
        if fault := _fault(can, body):
            return Answer({"error": {"message": fault}}, status=400)
        return Answer(events=_stream(can, body)) if body.get("stream") else Answer(_reply(can, body))

    return answer


def _fault(can: Capabilities, body: dict[str, Any]) -> str:
    other = {"max_tokens", "max_completion_tokens"} - {can.limit_name}
    if other & body.keys():
        return f"Unsupported parameter: '{other.pop()}'. Use '{can.limit_name}' instead."
    if "temperature" in body and not can.takes_temperature:
        return "Unsupported value: 'temperature' does not support 0 with this model."
    if "response_format" in body and not can.json_schema:
        return "response_format is not supported"
    if "tools" in body and not can.tools:
        return "this model does not support tools"
    if "continue_final_message" in body and can.continues in ("no", "prefix", "prefix_echoed"):
        return "unknown field continue_final_message"
    if "prefix" in body["messages"][-1] and not can.continues.startswith("prefix"):
        return "unknown field prefix"
    if can.usage == "none" and "stream_options" in body:
        return "unknown field stream_options"
    return ""


def _prompt_tokens(can: Capabilities, body: dict[str, Any]) -> int:
    if body["messages"][-1]["role"] != "assistant":
        return _PLAIN_TOKENS
    continues = can.continues == "last_message" or (can.continues == "flag" and body.get("continue_final_message"))
    continues = continues or (can.continues.startswith("prefix") and body["messages"][-1].get("prefix"))
    return _PLAIN_TOKENS + (1 if continues else 1 + _TURN_TOKENS)


def _reply(can: Capabilities, body: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "1, 2"}, "finish_reason": "stop"}
    last = body["messages"][-1]
    if can.continues == "prefix_echoed" and last.get("prefix"):
        choice["message"]["content"] = last["content"] + " 1, 2"
    if "response_format" in body:
        choice["message"]["content"] = '{"a": 1}'
    if "tools" in body:
        call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"choices": [choice], "usage": {"prompt_tokens": _prompt_tokens(can, body), "completion_tokens": 2}}


def _stream(can: Capabilities, body: dict[str, Any]) -> Events:
    asked, usage = body.get("stream_options", {}), {"prompt_tokens": _PLAIN_TOKENS, "completion_tokens": 1}
    each: dict[str, Any] = {}
    if can.usage == "continuous" and asked.get("continuous_usage_stats"):
        each["usage"] = usage
    if can.usage == "timings" and body.get("timings_per_token"):
        each["timings"] = _TIMINGS
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}], **each} for text in ("1", ", ", "2")]
    ending = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    last = [{"choices": [], "usage": usage}] if asked.get("include_usage") and can.usage != "none" else []
    return [("", chunk) for chunk in [*chunks, *ending, *last]]


def responses_server(can: Capabilities) -> Callable[[str, dict[str, Any]], Answer]:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if not path.endswith("/responses"):
            return Answer({"error": {"message": "not found"}}, status=404)
        for name, has in (("temperature", can.takes_temperature), ("text", can.json_schema), ("tools", can.tools)):
            if name in body and not has:
                return Answer({"error": {"message": f"Unsupported parameter: '{name}'"}}, status=400)
        return Answer({"object": "response", "output": [responses_text("1, 2")], "usage": responses_usage(9, 4)})

    return answer


def anthropic_server(can: Capabilities) -> Callable[[str, dict[str, Any]], Answer]:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if "/v1/models/" in path:
            return Answer({"id": MODEL, "type": "model"})
        if path.endswith("/count_tokens"):
            return Answer({"input_tokens": 9}) if can.tokenizes else _refusal("not found", 404)
        if body["messages"][-1]["role"] == "assistant" and can.continues == "no":
            return _refusal("This model does not support assistant message prefill.")
        if "temperature" in body and not can.takes_temperature:
            return _refusal("temperature is deprecated for this model")
        if "output_config" in body and not can.json_schema:
            return _refusal("output_config: Extra inputs are not permitted")
        if "tools" in body and not can.tools:
            return _refusal("tools: Extra inputs are not permitted")
        content = [{"type": "text", "text": "1, 2"}]
        return Answer({"type": "message", "content": content, "usage": {"input_tokens": 9, "output_tokens": 4}})

    return answer


def _refusal(message: str, status: int = 400) -> Answer:
    error = {"type": "invalid_request_error", "message": message}
    return Answer({"type": "error", "error": error}, status=status)
