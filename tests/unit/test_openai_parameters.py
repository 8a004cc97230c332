"""The table of OpenAI's parameters: the documents, the code and OpenAI's own client agree on what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from services.http_gateway import messages_request
from services.http_gateway.responses_request import ResponsesRequest
from tandem.openai.chat_request import ChatCompletionRequest, TandemOptions
from tandem.openai.parameters import (
    NEUTRAL,
    RESPONSES_NEUTRAL,
    RESPONSES_USED,
    USED,
    RefusedParameter,
    used_parameters,
)
from tandem.v1 import tandem_pb2

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "openai-parameters.md").read_text()


def rows(mark: str) -> dict[str, str]:
    """What the page says of each parameter."""
    table = PAGE.partition(f"<!-- {mark} -->")[2].partition("<!-- end -->")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))


DIALECTS = {
    "parameters": (CompletionCreateParamsBase, ChatCompletionRequest, USED, NEUTRAL),
    "responses": (ResponseCreateParamsBase, ResponsesRequest, RESPONSES_USED, RESPONSES_NEUTRAL),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_parameter_of_openais_client_has_a_place(dialect: str) -> None:
    theirs, _, used, neutral = DIALECTS[dialect]
    assert {*theirs.__annotations__, "stream"} == {*used, *neutral} - {"tandem"}
    assert not set(used) & set(neutral)


def test_the_page_says_what_becomes_of_anthropics_parameters() -> None:
    refused = {
        name: "refused" + (", except " + ", ".join(f"`{json.dumps(value)}`" for value in values) if values else "")
        for name, (values, _) in messages_request.NEUTRAL.items()
    }
    assert {**dict.fromkeys(messages_request.USED, "used"), **refused} == rows("messages")
    assert set(messages_request.MessagesRequest.model_fields) == set(messages_request.USED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_page_says_what_the_code_does(dialect: str) -> None:
    _, _, used, neutral = DIALECTS[dialect]
    refused = {
        name: "refused" + (", except " + ", ".join(f"`{json.dumps(value)}`" for value in values) if values else "")
        for name, (values, _) in neutral.items()
    }
    assert {**dict.fromkeys(used, "used"), **refused} == rows(dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_used_is_a_field_of_the_body(dialect: str) -> None:
    _, body, used, _ = DIALECTS[dialect]
    assert set(body.model_fields) == set(used)


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


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_parameter_that_cannot_be_honoured_is_refused_unless_it_asks_for_nothing(name: str) -> None:
    for value in (*NEUTRAL[name][0], None):
        assert used_parameters({name: value}) == {}
    wanted: list[Any] = [True, 2, "x", ["x"], {"x": 1}]
    for value in wanted:
        with pytest.raises(RefusedParameter) as caught:
            used_parameters({name: value})
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
