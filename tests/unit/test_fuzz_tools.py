"""Hostile tools, schemas and texts: every one is taken or refused, and what is streamed is what was called.

TANDEM_FUZZ says how many inputs each test has.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLTokenizer
from pydantic import ValidationError

from services.gateway.admission import Admission
from services.models.engine.api import InvalidSchema
from services.models.engine.json_schema import compiled, cost_of_text
from services.models.engine.tool_grammar import tool_grammar
from tandem.client.live_text import Piece
from tandem.errors import RequestError
from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile
from tandem.method.tools import Tool, ToolUse
from tandem.openai.chat_reply import ChatReply
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.json_body import read_json
from tandem.openai.messages_reply import MessagesReply
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.parameters import RefusedParameter
from tandem.openai.responses_reply import ResponsesReply
from tandem.openai.responses_request import ResponsesRequest
from tandem.v1 import tandem_pb2
from tests.unit.test_call_format import BARE, FENCED, LISTED, NUMBERED, TAGS, template
from tests.unit.test_conversation import PROFILES

INPUTS = int(os.environ.get("TANDEM_FUZZ", "400"))
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}, "n": {"enum": [1, "x", None]}}, "required": ["at"]}
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Sun?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sun"},
]
CHAT = {
    "model": "scripted@0.9",
    "messages": SAID,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "tools": [
        {"type": "function", "function": {"name": "w", "description": "d", "parameters": SCHEMA, "strict": True}}
    ],
}
RESPONSES = {
    "model": "scripted", "tools": [{"type": "function", "name": "w", "parameters": SCHEMA}],
    "input": [
        {"role": "user", "content": "Sun?"},
        {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "sun"}]},
    ],
}  # fmt: skip
MESSAGES = {
    "model": "scripted",
    "max_tokens": 9,
    "tools": [{"name": "w", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "w"},
    "messages": [
        {"role": "user", "content": "Sun?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "w", "input": {"at": "x"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sun", "is_error": True}]},
    ],
}
RECORDED = Path(__file__).parents[1] / "fixtures" / "agents"
BODIES = [
    (CHAT, ChatCompletionRequest),
    (RESPONSES, ResponsesRequest),
    (MESSAGES, MessagesRequest),
    *(
        (json.loads(file.read_text()) | {"model": "scripted"}, MessagesRequest)
        for file in sorted(RECORDED.glob("claude*"))
    ),
    *(
        (json.loads(file.read_text()) | {"model": "scripted"}, ResponsesRequest)
        for file in sorted(RECORDED.glob("codex*"))
    ),
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1e400,
    "",
    "w",
    "\ud800",
    "\x00<|im_end|>",
    "x" * 9000,
    [],
    {},
    [[]],
    {"type": "object"},
    {"$ref": "#"},
    {"type": ["string", 7]},
    {"properties": {"a": {"pattern": "("}}},
    "auto",
    "required",
    {"type": "function"},
    '{"a": [}',
]
FORMS = [TAGS, BARE, FENCED, LISTED, NUMBERED, template("tagged").calls]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def mutated(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for _ in range(chance.randint(1, 3)):
        if not (found := list(places(body))):
            break
        container, key = chance.choice(found)
        match chance.randrange(4):
            case 0:
                del container[key]
            case 1 if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case 2:
                other, name = chance.choice(found)
                container[key] = (
                    copy.deepcopy(other[name])
                    if name in other or (isinstance(other, list) and name < len(other))
                    else None
                )
            case _:
                container[key] = copy.deepcopy(chance.choice(VALUES))
    return body


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_every_body_is_taken_or_refused(number: int) -> None:
    body, model = BODIES[number]
    chance, taken = random.Random(number), 0
    profile = load_profile("scripted", (PROFILES,)).model_copy(update={"max_conversation_tokens": 100_000})
    admission = Admission({"scripted": profile}, "scripted", {"scripted": len})
    for _ in range(INPUTS):
        try:
            read: Any = model.model_validate(read_json(json.dumps(mutated(body, chance)).encode()))
            admission.admit(admission.checked(read.as_solve_request("r")), "")
            taken += 1
        except (RefusedParameter, ValidationError, RequestError, TandemError):
            pass
    assert 0 < taken < INPUTS


def test_every_schema_of_a_tool_is_held_or_refused() -> None:
    chance, held = random.Random(7), 0
    vocabulary = LLTokenizer("byte")
    for number in range(INPUTS):
        schema = mutated({"schema": SCHEMA}, chance).get("schema")
        use = ToolUse((Tool("w", "", json.dumps(schema), strict=bool(number % 2)),))
        try:
            grammar = tool_grammar(chance.choice(FORMS), use)
            cost_of_text(grammar)
            compiled(vocabulary, grammar)
            held += 1
        except InvalidSchema:
            pass
    assert 0 < held < INPUTS


def test_whatever_a_model_writes_is_text_and_whole_calls() -> None:
    chance = random.Random(8)
    for _ in range(INPUTS):
        form = chance.choice(FORMS)
        parts = [
            form.first,
            form.middle,
            form.between,
            form.end,
            "{",
            "}",
            "[",
            '"',
            "w",
            '{"at": "x"}',
            "\n",
            "```json\n",
            "é",
            ",",
            *([form.tags.before, form.tags.between, form.tags.after] if form.tags else []),
        ]
        content, calls = form.read("".join(chance.choices(parts, k=chance.randint(0, 12))))
        assert isinstance(content, str)
        for _, arguments in calls:
            json.loads(arguments)


def test_deltas_put_together_are_the_calls_of_the_result() -> None:
    chance = random.Random(9)
    for _ in range(INPUTS):
        text = "".join(chance.choices(["Hm", " é", "\n", ""], k=4))
        calls = [
            (f"w{n}", json.dumps({"a" * n: chance.choice(["x", None, [1], 'é"'])})) for n in range(chance.randint(0, 4))
        ]
        listed = [tandem_pb2.ToolCall(id=f"c{n}", name=name, arguments=given) for n, (name, given) in enumerate(calls)]
        result = tandem_pb2.SolveResult(answer=text, tool_calls=listed, complete=True)
        cut = chance.randint(0, len(text))
        pieces = [piece for piece in (Piece(content=text[:cut]), Piece(content=text[cut:])) if piece]
        for reply in (ChatReply("r", "p"), MessagesReply("r", "p"), ResponsesReply("r", "p", {"metadata": {}})):
            events = [*reply.first(), *(event for piece in pieces for event in reply.piece(piece)), *reply.last(result)]
            assert (reply.__class__, *together(events)) == (reply.__class__, text, calls)


def together(events: list[dict[str, Any]]) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls, by the index that each delta names."""
    text, names, arguments = "", dict[int, str](), dict[int, str]()
    for event in events:
        for delta in [choice["delta"] for choice in event.get("choices", ())]:
            text += delta.get("content", "")
            for call in delta.get("tool_calls", ()):
                names[call["index"]] = names.get(call["index"], "") + call["function"].get("name", "")
                arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
        delta, item = event.get("delta", {}), event.get("item", event.get("content_block", {}))
        index = event.get("index", event.get("output_index", 0))
        if event.get("type") in ("content_block_start", "response.output_item.added") and "name" in item:
            names[index], arguments[index] = item["name"], ""
        if event.get("type") == "response.function_call_arguments.delta":
            arguments[index] += delta
        elif event.get("type") == "response.output_text.delta":
            text += delta
        elif event.get("type") == "content_block_delta":
            text += delta.get("text", "")
            if "partial_json" in delta:
                arguments[index] += delta["partial_json"]
    return text, [(names[index], arguments[index]) for index in sorted(names)]
