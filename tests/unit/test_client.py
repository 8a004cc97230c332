"""What a program sees of a request: options that become one message, and one small class for each event."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import get_args

import pytest

from tandem import Event, SolveOptions
from tandem.client import clients, events
from tandem.client.request import solve_request
from tandem.client.unary_calls import next_page
from tandem.method.request.result import StopReason
from tandem.method.timeouts import Timeouts
from tandem.v1 import tandem_pb2

CLASSES = {each.kind: each for each in get_args(Event)}
ONEOF = tandem_pb2.SolveEvent.DESCRIPTOR.oneofs_by_name["event"].fields


@pytest.mark.parametrize("field", ONEOF, ids=lambda field: field.name)
def test_every_event_of_the_contract_has_a_class_with_all_its_fields(field) -> None:  # type: ignore[no-untyped-def]
    event = events.event_from_pb(tandem_pb2.SolveEvent(**{field.name: {}}))
    assert type(event) is CLASSES[field.name]
    expected = 1 if field.name == "completed" else len(field.message_type.fields)
    assert len(fields(event)) == expected


def test_an_event_of_a_newer_gateway_is_skipped() -> None:
    assert events.event_from_pb(tandem_pb2.SolveEvent(cursor="1")) is None


def test_what_is_unknown_is_none_and_enums_are_words() -> None:
    scored = events.event_from_pb(tandem_pb2.SolveEvent(scored={"stage": 1, "threshold": 0.5}))
    assert isinstance(scored, events.Scored)
    assert scored.score is None
    for reason in StopReason:
        stopped = events.event_from_pb(tandem_pb2.SolveEvent(llm_stopped={"reason": f"STOP_REASON_{reason.upper()}"}))
        assert isinstance(stopped, events.LlmStopped)
        assert stopped.reason == reason
    roles = {tandem_pb2.ROLE_LLM: "llm", tandem_pb2.ROLE_SLM: "slm"}
    for number, role in roles.items():
        restarted = events.event_from_pb(tandem_pb2.SolveEvent(restarted={"role": number}))
        assert isinstance(restarted, events.Restarted)
        assert restarted.role == role


def test_every_option_reaches_the_message() -> None:
    options = SolveOptions(
        profile="p",
        request_id="r",
        max_cost_usd=1.5,
        max_llm_tokens=7,
        threshold=0.25,
        thresholds={1: 0.5},
        max_stage=2,
        temperature=0.75,
        top_p=0.5,
        seed=3,
        effort="high",
        keep_running=True,
        tenant="t",
        code=True,
        task="chat",
        checks=["choice:a\nb", "regex:x:y"],
        json_schema="{}",
        max_answer_tokens=9,
        stop=["###", "\n\n"],
        tools=[{"name": "f"}, {"name": "g"}],
        tool_choice="required",
        allowed_tools=["g"],
        parallel_tool_calls=False,
        session="s",
        max_session_usd=2.5,
    )
    assert set(options) == set(SolveOptions.__annotations__)
    message = solve_request("why?", **options)
    assert (message.session, message.max_session_usd) == ("s", 2.5)
    assert (message.question, message.profile, message.request_id, message.tenant) == ("why?", "p", "r", "t")
    assert (message.budget.max_cost_usd, message.budget.max_llm_tokens) == (1.5, 7)
    assert (message.stop.threshold, dict(message.stop.thresholds), message.stop.max_stage) == (0.25, {1: 0.5}, 2)
    assert (message.sampling.temperature, message.sampling.top_p, message.sampling.seed) == (0.75, 0.5, 3)
    assert message.sampling.effort == "high"
    assert (message.keep_running, message.task) == (True, tandem_pb2.TASK_CODE)
    assert [(c.name, c.argument) for c in message.checks] == [("choice", "a\nb"), ("regex", "x:y")]
    assert (message.json_schema, message.max_answer_tokens) == ("{}", 9)
    assert message.stop_strings == ["###", "\n\n"]
    assert [tool.name for tool in message.tools] == ["f", "g"]
    choice = message.tool_choice
    assert (choice.mode, list(choice.allowed)) == (tandem_pb2.TOOL_MODE_REQUIRED, ["g"])
    assert not choice.parallel
    assert solve_request("why?", stop="###").stop_strings == ["###"]


def test_a_task_and_a_conversation_reach_the_message() -> None:
    message = solve_request(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}], task="chat"
    )
    assert (message.question, message.task) == ("", tandem_pb2.TASK_CHAT)
    assert [(tandem_pb2.Speaker.Name(m.speaker), m.text) for m in message.messages] == [
        ("SPEAKER_SYSTEM", "Be brief."), ("SPEAKER_USER", "Hi")
    ]  # fmt: skip


def test_what_is_not_asked_for_is_left_to_the_profile() -> None:
    message = solve_request("why?")
    assert message.request_id
    assert not any(message.budget.HasField(name) for name in ("max_cost_usd", "max_llm_tokens"))
    assert not any(message.stop.HasField(name) for name in ("threshold", "max_stage"))
    assert not any(message.sampling.HasField(name) for name in ("temperature", "top_p", "seed"))


def test_the_clients_deadline_is_the_outermost_timeout() -> None:
    assert clients._DEADLINE_SECONDS == Timeouts.client_deadline.total_seconds() > Timeouts.workflow.total_seconds()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("tandem", "Client"),
        ("tandem.client", "AsyncClient"),
        ("tandem.errors", "RequestError"),
        ("tandem.events", "Completed"),
        ("tandem.request", "SolveOptions"),
        ("tandem.results", "to_dict"),
        ("tandem.tools", "calls_as_data"),
    ],
)
def test_what_callers_import_is_found_by_its_name(module: str, name: str) -> None:
    assert getattr(import_module(module), name)


@pytest.mark.parametrize("what", [{}, {"shadows": True}])
def test_the_next_page_of_a_list_asks_for_the_same_as_the_first(what: dict[str, bool]) -> None:
    asked = tandem_pb2.ListRequestsRequest(where="stage = 2", limit=150, **what)
    rows = [tandem_pb2.RequestSummary(request_id=str(number)) for number in range(100)]
    found = tandem_pb2.ListRequestsResponse(requests=rows, next_page_token="there")
    following = next_page(asked, found, 150)
    assert following == tandem_pb2.ListRequestsRequest(where="stage = 2", limit=50, page_token="there", **what)
    assert next_page(asked, tandem_pb2.ListRequestsResponse(requests=rows), 150) is None
    assert next_page(asked, tandem_pb2.ListRequestsResponse(requests=rows, next_page_token="there"), 100) is None
