"""Three protocols as the scripted vendor reads and speaks them: chat completions, Responses, Messages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lab.bench.agents.prefix_cache import Counted, Part
from lab.bench.agents.script import Asked, Step
from tests.recorded_api import Answer, anthropic_call, anthropic_events, openai_call, openai_chunks

Body = dict[str, Any]
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
NAMES = {CHAT: "chat", RESPONSES: "responses", MESSAGES: "messages"}


def asked(path: str, body: Body) -> Asked:
    return {CHAT: _asked_in_chat, RESPONSES: _asked_in_responses, MESSAGES: _asked_in_messages}[path](body)


def parts(path: str, body: Body) -> list[Part]:
    """The prompt, piece by piece in the order in which a model reads it: what a cache compares."""
    if path == MESSAGES:
        system = body.get("system") or []
        head = [*body.get("tools", []), *(_blocks(system) if isinstance(system, str) else system)]
        turns = [(m["role"], block) for m in body["messages"] for block in _blocks(m["content"])]
        found = [_part("", block) for block in head] + [_part(role, block) for role, block in turns]
        if (top := body.get("cache_control")) and found:
            found[-1] = Part(found[-1].text, top.get("ttl", "5m"))
        return found
    turns = body["messages"] if path == CHAT else _items(body)
    head = [body["instructions"]] if body.get("instructions") else []
    return [_part("", each) for each in [*body.get("tools", []), *head, *turns]]


def answer(path: str, body: Body, step: Step, counted: Counted, number: int) -> Answer:
    make = {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages}[path]
    return make(body, step, counted, written(step), number)


def written(step: Step) -> int:
    """Tokens of what the model wrote."""
    return -(-len(step.text + (json.dumps(step.arguments) if step.call else "")) // 4)


def refused(path: str, message: str) -> Answer:
    error = {"type": "invalid_request_error", "message": message}
    return Answer({"type": "error", "error": error} if path == MESSAGES else {"error": error}, status=400)


# -- reading ----------------------------------------------------------------------------------------------------------


def _part(role: str, block: Any) -> Part:
    """Without its mark, which is no text."""
    if not isinstance(block, dict):
        return Part(f"{role}{json.dumps(block)}")
    mark = block.get("cache_control")
    text = json.dumps({name: value for name, value in block.items() if name != "cache_control"})
    return Part(f"{role}{text}", mark.get("ttl", "5m") if mark else "")


def _blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(b.get("text", "") for b in content or () if isinstance(b, dict) and "text" in b)


def _items(body: Body) -> list[Any]:
    given = body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _asked(tools: Any, results: int, turns: Iterable[tuple[str, str]], schema: Any) -> Asked:
    said = list(turns)
    texts = "\n".join(text for role, text in said if role != "assistant")
    return Asked(dict(tools), results, [text for role, text in said if role == "assistant"], texts, schema)


def _asked_in_chat(body: Body) -> Asked:
    turns = body["messages"]
    tools = [(t["function"]["name"], t["function"].get("parameters") or {}) for t in body.get("tools") or ()]
    given = body.get("response_format") or {}
    schema = (given.get("json_schema") or {}).get("schema")
    texts = [(turn["role"], _text(turn.get("content"))) for turn in turns]
    return _asked(tools, sum(turn["role"] == "tool" for turn in turns), texts, schema)


def _asked_in_responses(body: Body) -> Asked:
    items = _items(body)
    tools = [(t["name"], t.get("parameters") or {}) for t in body.get("tools") or () if t.get("type") == "function"]
    texts = [(i["role"], _text(i.get("content"))) for i in items if "role" in i]
    results = sum(item.get("type") == "function_call_output" for item in items)
    given = (body.get("text") or {}).get("format") or {}
    return _asked(tools, results, [("system", body.get("instructions") or ""), *texts], given.get("schema"))


def _asked_in_messages(body: Body) -> Asked:
    tools = [(t["name"], t["input_schema"]) for t in body.get("tools") or () if "input_schema" in t]
    blocks = [(m["role"], block) for m in body["messages"] for block in _blocks(m["content"])]
    texts = [(role, _text([block])) for role, block in blocks]
    results = sum(block.get("type") == "tool_result" for _, block in blocks)
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    return _asked(tools, results, [("system", _text(body.get("system"))), *texts], schema)


# -- speaking ---------------------------------------------------------------------------------------------------------


def _chat(body: Body, step: Step, counted: Counted, written: int, number: int) -> Answer:
    usage = {
        "prompt_tokens": counted.prompt, "completion_tokens": written, "total_tokens": counted.prompt + written,
        "prompt_tokens_details": {"cached_tokens": counted.cached},
    }  # fmt: skip
    ended = "tool_calls" if step.call else "stop"
    deltas = openai_call(0, step.call, [json.dumps(step.arguments)]) if step.call else []
    for delta in deltas:
        delta["tool_calls"][0] |= {"id": f"call_{number}"} if "id" in delta["tool_calls"][0] else {}
    if body.get("stream"):
        return Answer(events=openai_chunks([step.text], usage, finish=ended, model=body["model"], deltas=deltas))
    message: Body = {"role": "assistant", "content": step.text}
    if deltas:
        message["tool_calls"] = [{n: v for n, v in deltas[0]["tool_calls"][0].items() if n != "index"}]
    choice = {"index": 0, "message": message, "finish_reason": ended}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": body["model"]}
    return Answer({**head, "choices": [choice], "usage": usage})


def _messages(body: Body, step: Step, counted: Counted, written: int, number: int) -> Answer:
    """Where thinking is asked for, a block of it with a signature, which the next turn has to have unchanged."""
    kept = counted.cached + counted.written + counted.written_1h
    thinks = (body.get("thinking") or {}).get("type") in ("adaptive", "enabled")
    thought = [{"type": "thinking", "thinking": "A typo.", "signature": f"signed-{number}"}] if thinks else []
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": step.call, "input": step.arguments}
    stop = "tool_use" if step.call else "end_turn"
    usage: Body = {
        "input_tokens": counted.prompt - kept, "cache_read_input_tokens": counted.cached, "output_tokens": written,
        "cache_creation_input_tokens": counted.written + counted.written_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counted.written, "ephemeral_1h_input_tokens": counted.written_1h,
        },
    }  # fmt: skip
    if not body.get("stream"):
        content = [*thought, {"type": "text", "text": step.text}, *([call] if step.call else [])]
        head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"]}
        return Answer({**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage})
    blocks = anthropic_call(1, step.call, [json.dumps(step.arguments)]) if step.call else []
    events = anthropic_events([step.text], 0, written, stop=stop, blocks=blocks)
    events[0][1]["message"] |= {"model": body["model"], "id": f"msg_{number}", "usage": {**usage, "output_tokens": 1}}
    for name, event in blocks:
        if name == "content_block_start":
            event["content_block"]["id"] = f"toolu_{number}"
    if thought:
        for _, event in events:
            event |= {"index": event["index"] + 1} if "index" in event else {}
        events[1:1] = _thinking(thought[0])
    return Answer(events=events)


def _thinking(block: Body) -> list[tuple[str, Body]]:
    deltas = [
        {"type": "thinking_delta", "thinking": block["thinking"]},
        {"type": "signature_delta", "signature": block["signature"]},
    ]
    return [
        ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {**block, "thinking": "",
                                                                                              "signature": ""}}),
        *(("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
    ]  # fmt: skip


def _responses(body: Body, step: Step, counted: Counted, written: int, number: int) -> Answer:
    """platform.openai.com/docs/api-reference/responses-streaming."""
    text = {"type": "output_text", "text": step.text, "annotations": []}
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    output: list[Body] = [message]
    if step.call:
        arguments = json.dumps(step.arguments)
        output.append(
            {"id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": f"call_{number}",
             "name": step.call, "arguments": arguments}
        )  # fmt: skip
    usage = {
        "input_tokens": counted.prompt, "input_tokens_details": {"cached_tokens": counted.cached},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counted.prompt + written,
    }  # fmt: skip
    whole: Body = {
        "id": f"resp_{number}", "object": "response", "created_at": 1, "model": body["model"], "status": "completed",
        "output": output, "usage": usage, "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    if not body.get("stream"):
        return Answer(whole)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[Body] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(output):
        events += _item_events(index, item)
    events.append({"type": "response.completed", "response": whole})
    return Answer(events=[(e["type"], {**e, "sequence_number": i}) for i, e in enumerate(events)])


def _item_events(index: int, item: Body) -> list[Body]:
    at = {"output_index": index, "item_id": item["id"]}
    is_call = item["type"] == "function_call"
    nothing: Body = {"arguments": ""} if is_call else {"content": []}
    empty = {**item, "status": "in_progress", **nothing}
    if is_call:
        inner: list[Body] = [
            {"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]},
            {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]},
        ]
    else:
        part, here = item["content"][0], {**at, "content_index": 0}
        inner = [
            {"type": "response.content_part.added", **here, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **here, "delta": part["text"]},
            {"type": "response.output_text.done", **here, "text": part["text"]},
            {"type": "response.content_part.done", **here, "part": part},
        ]
    added = {"type": "response.output_item.added", "output_index": index, "item": empty}
    return [added, *inner, {"type": "response.output_item.done", "output_index": index, "item": item}]
