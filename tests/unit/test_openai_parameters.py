"""The tables of parameters: the documents, the code and the vendors' own clients agree on what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from services.models.engine.api import InvalidSchema
from services.models.engine.schema_cost import cost_of
from tandem.client.request import SolveOptions
from tandem.openai.body import ApiBody
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.parameters import RefusedParameter
from tandem.openai.responses_reply import ResponsesReply
from tandem.openai.responses_request import ResponsesRequest
from tandem.openai.schemas import MOST_REPETITIONS, loosened
from tandem.openai.solve_request import TandemOptions
from tandem.v1 import tandem_pb2
from tests.unit.test_docs import generator

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "openai-parameters.md").read_text()


BODIES: dict[str, tuple[type[Any], type[ApiBody]]] = {
    "chat": (CompletionCreateParamsBase, ChatCompletionRequest),
    "responses": (ResponseCreateParamsBase, ResponsesRequest),
    "messages": (MessageCreateParamsBase, MessagesRequest),
}


@pytest.mark.parametrize("api", BODIES)
def test_every_parameter_of_the_vendors_client_has_a_place(api: str) -> None:
    theirs, body = BODIES[api]
    assert theirs.__annotations__.keys() <= {*body.model_fields, *body.parameters}


@pytest.mark.parametrize("api", BODIES)
def test_what_is_used_is_neither_a_hint_nor_refused(api: str) -> None:
    _, body = BODIES[api]
    assert not body.model_fields.keys() & body.parameters.keys()


@pytest.mark.parametrize("api", BODIES)
def test_a_refusal_has_a_reason_and_a_hint_needs_none(api: str) -> None:
    _, body = BODIES[api]
    assert all(bool(known.about) == known.is_refused for known in body.parameters.values())


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
    request = ResponsesRequest.model_validate({"model": "scripted", "input": asked}).as_solve_request("r")
    assert [(message.speaker, message.text) for message in request.messages] == [
        (tandem_pb2.SPEAKER_USER, "Hi"), (tandem_pb2.SPEAKER_ASSISTANT, "Hello."), (tandem_pb2.SPEAKER_USER, "And?")
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


def test_tandems_own_options_are_those_of_the_client_by_their_names() -> None:
    assert TandemOptions.model_fields.keys() <= SolveOptions.__annotations__.keys()


MINIMAL = {
    "chat": {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "scripted", "input": "Hi"},
    "messages": {"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
}
UNUSED = [
    (api, name) for api, (_, body) in BODIES.items() for name, known in body.parameters.items() if name.isidentifier()
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
        may_pass = known.is_refused and body.allows(name)
        if not known.is_refused:
            assert body.model_validate(sent).dropped() == (name,)
        if may_pass or not known.is_refused:
            read = body.model_validate(sent)
            native = read.native("")
            assert native.needs == (name if may_pass else "")
            assert json.loads(native.body)[name] == value
            continue
        with pytest.raises(RefusedParameter) as caught:
            body.model_validate(sent)
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("more", "effort"),
    [
        ({"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8193}}, "high"),
        ({"thinking": {"type": "disabled"}}, ""),
        ({"output_config": {"effort": "much"}}, ""),
        ({"output_config": {"effort": ["high"]}}, ""),
        ({"reasoning": {"effort": "xhigh", "summary": "auto"}}, "xhigh"),
        ({"reasoning_effort": "minimal"}, "minimal"),
    ],
)
def test_each_api_says_its_effort_and_it_is_dropped_by_name_where_no_api_is_told_it(
    more: dict[str, Any], effort: str
) -> None:
    said = [{"role": "user", "content": "Hi"}]
    body: Any = (
        ResponsesRequest.model_validate({"model": "a", "input": "Hi", **more})
        if "reasoning" in more
        else MessagesRequest.model_validate({"model": "a", "messages": said, "max_tokens": 9, **more})
        if "reasoning_effort" not in more
        else ChatCompletionRequest.model_validate({"model": "a", "messages": said, **more})
    )
    assert body.as_solve_request("r").sampling.effort == effort
    place = {"output_config": "output_config.effort", "reasoning": "reasoning.effort"}.get(next(iter(more)))
    if place:
        assert place in body.dropped()
        assert (place in body.dropped(is_told=True)) == (not effort)


def test_the_tools_of_a_namespace_are_offered_under_one_name_each() -> None:
    tool = {"type": "function", "name": "close", "parameters": {"type": "object"}}
    group = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [tool, {"type": "custom"}]}
    call = {"type": "function_call", "call_id": "c", "namespace": "agents", "name": "close", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "ok"}
    said = [{"role": "user", "content": "Hi"}, call, result]
    broken = {"type": "namespace", "name": "others"}
    body = ResponsesRequest.model_validate({"model": "a", "input": said, "tools": [tool, group, broken]})
    asked = body.as_solve_request("r")
    assert [offered.name for offered in asked.tools] == ["close", "agents__close"]
    assert asked.messages[1].tool_calls[0].name == "agents__close"
    assert body.namespaces == {"agents__close": ("agents", "close")}
    assert body.dropped() == ("tools[].tools[type=custom]", "tools[type=namespace]")


def test_a_call_of_a_namespaces_function_names_both_again() -> None:
    reply = ResponsesReply("r", "a", {"metadata": {}}, {"agents__close": ("agents", "close")})
    calls = [
        tandem_pb2.ToolCall(id=f"c{n}", name=name, arguments="{}") for n, name in enumerate(["agents__close", "w"])
    ]
    result = tandem_pb2.SolveResult(complete=True, tool_calls=calls)
    done = [event["item"] for event in reply.last(result) if event["type"] == "response.output_item.done"]
    named = [(item.get("namespace"), item["name"]) for item in done if item["type"] == "function_call"]
    assert named == [("agents", "close"), (None, "w")]
