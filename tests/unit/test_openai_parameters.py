"""The tables of parameters: the documents, the code and the vendors' own clients agree on what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.completion_create_params import CompletionCreateParamsBase as TextCreateParamsBase
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from services.http_gateway.messages_request import MessagesRequest
from services.http_gateway.responses_request import ResponsesRequest
from services.models.engine.api import InvalidSchema
from services.models.engine.schema_cost import cost_of
from tandem.openai.body import MOST_REPETITIONS, ApiBody, loosened
from tandem.openai.chat_request import ChatCompletionRequest, TandemOptions
from tandem.openai.parameters import RefusedParameter
from tandem.openai.text_request import TextCompletionRequest
from tandem.v1 import tandem_pb2
from tests.unit.test_docs import generator

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "openai-parameters.md").read_text()


BODIES: dict[str, tuple[type[Any], type[ApiBody]]] = {
    "chat": (CompletionCreateParamsBase, ChatCompletionRequest),
    "completions": (TextCreateParamsBase, TextCompletionRequest),
    "responses": (ResponseCreateParamsBase, ResponsesRequest),
    "messages": (MessageCreateParamsBase, MessagesRequest),
}


@pytest.mark.parametrize("api", BODIES)
def test_every_parameter_of_the_vendors_client_has_a_place(api: str) -> None:
    theirs, body = BODIES[api]
    assert theirs.__annotations__.keys() <= body.parameters.keys()


@pytest.mark.parametrize("api", BODIES)
def test_what_is_used_is_a_field_of_the_body(api: str) -> None:
    _, body = BODIES[api]
    assert set(body.model_fields) == {name for name, known in body.parameters.items() if known.kind == "used"}


def test_the_page_says_what_the_code_does() -> None:
    tables = generator("gen_parameters")
    assert tables.PAGE.read_text() == tables.render(tables.PAGE.read_text()), "run `make tables`"


def test_a_bound_that_no_text_can_be_held_to_is_the_engines() -> None:
    schema = {"properties": {"a": {"type": "string", "maxLength": MOST_REPETITIONS}}}
    assert loosened(schema) is schema
    assert cost_of(schema)
    schema["properties"]["a"]["maxLength"] += 1
    assert loosened(schema) == {"properties": {"a": {"type": "string"}}}
    with pytest.raises(InvalidSchema):
        cost_of(schema)


def test_what_a_client_repeats_of_a_response_is_read() -> None:
    text = ResponseOutputText(type="output_text", text="Hello.", annotations=[])
    said = ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[text])
    asked = [{"role": "user", "content": "Hi"}, said.model_dump(), {"role": "user", "content": "And?"}]
    chat = ResponsesRequest.model_validate({"model": "scripted", "input": asked}).as_chat()
    assert [(message.role, message.text) for message in chat.messages] == [
        ("user", "Hi"), ("assistant", "Hello."), ("user", "And?")
    ]  # fmt: skip


def test_system_messages_are_one_at_the_beginning_and_the_users_later() -> None:
    """Agents say instructions apart from a system prompt, and ask again with a system message behind an answer."""
    roles = ["system", "developer", "user", "assistant", "system"]
    said = [{"role": role, "content": f"{role} {number}"} for number, role in enumerate(roles)]
    asked = ChatCompletionRequest.model_validate({"model": "scripted", "messages": said}).as_solve_request("r")
    assert [(message.speaker, message.text) for message in asked.messages] == [
        (tandem_pb2.SPEAKER_SYSTEM, "system 0\n\ndeveloper 1"), (tandem_pb2.SPEAKER_USER, "user 2"),
        (tandem_pb2.SPEAKER_ASSISTANT, "assistant 3"), (tandem_pb2.SPEAKER_USER, "system 4"),
    ]  # fmt: skip


def test_the_page_names_tandems_own_options() -> None:
    section = (DOCS / "openai.md").read_text().partition("### Tandem's own options")[2].partition("## The reply")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(TandemOptions.model_fields)


MINIMAL = {
    "completions": {"model": "m", "prompt": "why?"},
    "chat": {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "scripted", "input": "Hi"},
    "messages": {"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
}
UNUSED = [
    (api, name)
    for api, (_, body) in BODIES.items()
    for name, known in body.parameters.items()
    if known.kind != "used" and name.isidentifier()
]


@pytest.mark.parametrize(("api", "name"), UNUSED)
def test_what_nobody_follows_is_dropped_and_named_or_refused_and_asking_for_nothing_is_neither(
    api: str, name: str
) -> None:
    _, body = BODIES[api]
    known = body.parameters[name]
    for value in (*known.nothing, None):
        assert body.model_validate({**MINIMAL[api], name: value}).dropped() == ()
    wanted: list[Any] = [True, 2, "x", ["x"], {"x": 1}]
    for value in wanted:
        sent = {**MINIMAL[api], name: value}
        if known.kind == "hint":
            assert body.model_validate(sent).dropped() == (name,)
        is_passed = known.is_passed and bool(body.protocol)
        if is_passed:
            read = body.model_validate(sent)
            read.keep(sent)
            native = read.native("", is_strict=False)
            assert (read.dropped(is_passed=True), json.loads(native.body)[name]) == ((), value)
            assert native.needs == (name if known.kind == "refused" else "")
        if known.kind == "hint" or is_passed:
            continue
        with pytest.raises(RefusedParameter) as caught:
            body.model_validate(sent)
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
