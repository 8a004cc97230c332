"""The conversion between the contract's messages and the dataclasses is complete: no field of either is forgotten."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from google.protobuf.message import Message

from tandem.client.results import role_name, to_dict
from tandem.convert import outcomes, requests, results, values
from tandem.convert.messages import to_pb
from tandem.method import conversation
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckResult, CheckSpec, Repair, Trial, Verdict
from tandem.method.profile.prices import RolePrices
from tandem.method.request.events import (
    AnswerDelta,
    Checked,
    InsightDelta,
    LlmStopped,
    Restarted,
    Scored,
    StageCompleted,
)
from tandem.method.request.job import Step
from tandem.method.request.request import Budget, Native, SolveRequest, StopOverrides
from tandem.method.request.result import (
    Cost,
    Overhead,
    ShadowResult,
    SolveResult,
    StageResult,
    Stop,
    StopReason,
    Timings,
)
from tandem.method.request.tasks import CheckTask, GenerationOutcome
from tandem.method.roles import BILL_ROLES
from tandem.method.tokens import Sampling, TokenCounts
from tandem.method.tools import Tool, ToolCall, ToolUse
from tandem.v1 import execution_pb2, insight_pb2, tandem_pb2

SAID = conversation.Message
CALL = ToolCall("call_1", "f", '{"a": 1}')
TOOLS = ToolUse((Tool("f", "does", '{"type": "object"}', True),), "required", ("f",), True)
EITHER = ["history.tool_call_id", "history.tool_calls"]  # a message has one of them
COUNTS = TokenCounts(
    prompt=1,
    cached=2,
    completion=3,
    overrun=4,
    discarded=5,
    is_estimated=True,
    written=1,
    written_hour=1,
    tool_uses={"web_search": 2},
)
CHECK = CheckResult("regex", 1, "slm", Verdict.FAIL, "no match", 0.5, 0.25, 2)
RESULT = SolveResult(
    request_id="r",
    profile="p",
    question="q",
    answer="a",
    reasoning="why",
    stop=Stop(2, StopReason.BUDGET, 0.5, 0.75),
    stages=[StageResult(1, "start", 16, 0.25, 0.75, "words", True)],
    models={role: role for role in BILL_ROLES},
    usage=dict.fromkeys(BILL_ROLES, COUNTS),
    cost=Cost(
        1.0, dict.fromkeys(BILL_ROLES, 2.0), 5.0, 6.0, 7.0, 8.0, 9.0, "v", 10.0, 11.0, 12.0, 13.0, True, 14.0, 15.0
    ),
    timings_ms=Timings(1.0, 2.0, 3.0, 4.0, 5.0),
    trace_id="t",
    attempts=6,
    complete=True,
    notes=["n"],
    checks=[CHECK],
    trials=[Trial(1, 2, True, Verdict.FAIL, COUNTS, 1.0, 2.0)],
    answered_by="llm",
    tool_calls=[CALL],
    policy_step=1,
    overhead=Overhead(1, 2, 3),
    answered_calls=[CALL],
)
REQUEST = SolveRequest(
    "r",
    "q",
    "p",
    sampling=Sampling(0.5, 0.25, 9, "high"),
    task="code",
    json_schema="{}",
    history=[SAID("assistant", "Hi", (CALL,)), SAID("tool", "2", (), "call_1")],
    stop_strings=["###", "\n\n"],
    tools=TOOLS,
)
STEP = Step(
    "r",
    "p",
    "d",
    "slm",
    stage=2,
    max_tokens=(7,),
    epoch=3,
    trial=2,
    repair=Repair("wrong", "f(1) is 2"),
    is_compared=True,
    prices=RolePrices(1.0, 2.0, 3.0, cache_write=4.0, cache_write_hour=5.0, fees={"web_search": 0.01}),
)


def unset(message: Message, path: str = "") -> list[str]:
    """Paths of all fields, also of nested messages, that hold nothing."""
    found = []
    for field in message.DESCRIPTOR.fields:
        value, name = getattr(message, field.name), f"{path}{field.name}"
        if not value and not isinstance(value, Message):
            found.append(name)
        for item in value if field.is_repeated else [value]:
            if isinstance(item, Message):
                found += unset(item, f"{name}.")
    return found


def names(kind: type[Any]) -> set[str]:
    assert is_dataclass(kind)
    return {field.name for field in fields(kind)}


def test_every_field_of_a_result_reaches_the_contract() -> None:
    assert unset(results.result_to_pb(RESULT)) == []


def test_every_field_of_a_result_has_a_place_in_the_contract() -> None:
    # The models' names are in TokenUsage, the second small model's also beside it.
    assert names(SolveResult) - {"models"} | {"second_slm"} == set(to_dict(tandem_pb2.SolveResult()))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Stop, tandem_pb2.Stop),
        (StageResult, tandem_pb2.StageResult),
        (Cost, tandem_pb2.Cost),
        (Timings, tandem_pb2.Timings),
        (ShadowResult, tandem_pb2.Shadow),
        (Scored, tandem_pb2.Scored),
        (LlmStopped, tandem_pb2.LlmStopped),
        (StageCompleted, tandem_pb2.StageCompleted),
        (Restarted, tandem_pb2.Restarted),
        (CheckResult, tandem_pb2.CheckResult),
        (Checked, tandem_pb2.CheckResult),
        (Trial, tandem_pb2.Trial),
        (CheckSpec, tandem_pb2.Check),
        (Repair, execution_pb2.Repair),
        (InsightDelta, tandem_pb2.InsightDelta),
        (AnswerDelta, tandem_pb2.AnswerDelta),
        (Sampling, tandem_pb2.Sampling),
        (Tool, tandem_pb2.Tool),
        (ToolCall, tandem_pb2.ToolCall),
        (Budget, tandem_pb2.Budget),
        (StopOverrides, tandem_pb2.StopOverrides),
    ],
)
def test_a_dataclass_and_its_message_have_the_same_fields(kind: type[Any], message: type[Message]) -> None:
    assert names(kind) == {field.name for field in message.DESCRIPTOR.fields}


@pytest.mark.parametrize("message", [tandem_pb2.UsageByRole, tandem_pb2.UsdByRole, tandem_pb2.ProfilePrices])
def test_a_message_by_role_has_a_field_for_each_role(message: type[Message]) -> None:
    assert set(message.DESCRIPTOR.fields_by_name) == set(BILL_ROLES)
    assert {role_name(number) for number in tandem_pb2.Role.values()} == {*BILL_ROLES, "unspecified"} - {"scorer"}


def test_every_event_of_the_contract_has_a_dataclass() -> None:
    events = [
        InsightDelta("a", 1), AnswerDelta("b", 2), StageCompleted(1, "start", 16), Restarted("slm", 4, 2),
        Scored(1, None, 0.5, False, "words", True), LlmStopped(StopReason.SUFFICIENT, None, 1), RESULT,
        Checked(**vars(CHECK)),
    ]  # fmt: skip
    kinds = {results.event_to_pb("1.2.3", event).WhichOneof("event") for event in events}
    assert kinds == set(tandem_pb2.SolveEvent.DESCRIPTOR.fields_by_name) - {"cursor", "accepted"}


def test_a_request_keeps_every_field() -> None:
    message = tandem_pb2.SolveRequest(
        request_id="r",
        question="q",
        profile="p",
        budget=tandem_pb2.Budget(max_cost_usd=0.5, max_llm_tokens=0),
        stop=tandem_pb2.StopOverrides(threshold=0.25, thresholds={1: 0.75}, max_stage=0),
        sampling=tandem_pb2.Sampling(temperature=0.5, top_p=0.9, seed=3, effort="high"),
        tenant="t",
        task=tandem_pb2.TASK_CODE,
        resume_after="1.2.3",
        keep_running=True,
        checks=[tandem_pb2.Check(name="regex", argument="a+")],
        json_schema="{}",
        max_answer_tokens=9,
        stop_strings=["###"],
        messages=[
            tandem_pb2.Message(speaker=tandem_pb2.SPEAKER_SYSTEM, text="s"),
            tandem_pb2.Message(speaker=tandem_pb2.SPEAKER_USER, text="q"),
        ],
    )
    with pytest.raises(InvalidArgument, match="not both"):
        requests.solve_request_from_pb(message)
    message.question = ""
    request = requests.solve_request_from_pb(message)
    assert request == SolveRequest(
        "r", "q", "p", Budget(0.5, 0), StopOverrides(0.25, {1: 0.75}, 0), Sampling(0.5, 0.9, 3, "high"), "t", "code",
        [CheckSpec("regex", "a+")], "{}", [SAID("system", "s")], 9, ["###"],
    )  # fmt: skip
    of_the_stream = {"resume_after", "keep_running"}
    known = {f.name for f in message.DESCRIPTOR.fields} - of_the_stream - {"messages", "tool_choice"}
    assert names(SolveRequest) - {"history", "model"} == known


def test_what_a_request_does_not_set_has_the_defaults() -> None:
    plain = tandem_pb2.SolveRequest(question="q")
    assert requests.solve_request_from_pb(plain) == SolveRequest("", "q")
    assert requests.solve_request_from_pb(plain, "chat").task == "chat"


@pytest.mark.parametrize("speaker", [tandem_pb2.SPEAKER_UNSPECIFIED, 9])
def test_a_message_needs_a_speaker(speaker: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        values.message_from_pb(tandem_pb2.Message(speaker=speaker, text="q"))
    assert caught.value.field == "messages"


@pytest.mark.parametrize("task", [tandem_pb2.TASK_UNSPECIFIED, tandem_pb2.TASK_ANSWER])
def test_an_unspecified_task_is_an_answer(task: int) -> None:
    assert values.task_from_pb(task) == "answer"


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        values.task_from_pb(99)
    assert caught.value.field == "task"


def test_what_is_asked_and_its_step_survive_each_message_that_carries_them() -> None:
    execute = requests.execute_request_to_pb(REQUEST, STEP)
    assert unset(execute) == EITHER
    assert requests.step_from_pb(execute, "slm", "p") == (REQUEST, STEP)
    prefill = requests.prefill_request_to_pb(REQUEST, STEP)
    assert unset(prefill) == EITHER
    only_read = replace(REQUEST, sampling=Sampling(), stop_strings=[])
    assert requests.step_from_pb(prefill, "slm", "p") == (only_read, Step("r", "p", "d", stage=2, prices=STEP.prices))
    passed = replace(REQUEST, native=Native("", "0123"))
    insight = Step("r", "p", "d", "llm", max_tokens=(7, 9), epoch=3, is_alone=True, prices=STEP.prices)
    generate = requests.generate_request_to_pb(passed, insight)
    assert unset(generate) == EITHER
    assert requests.step_from_pb(generate, "llm", "p") == (passed, insight)


def test_an_outcome_survives_both_final_messages() -> None:
    called = {"message": SAID("assistant", "", (CALL,))}
    insight = GenerationOutcome("aborted", "text", COUNTS, 2.0, 1.0, 3, prompt=TokenCounts(0, 2), **called)
    finished = outcomes.finished_to_pb(insight, insight_pb2.GenerateFinished)
    assert finished.tokens == COUNTS.completion + COUNTS.overrun
    assert outcomes.outcome_from_pb(finished, COUNTS, 3) == insight
    assert insight.uninterrupted == TokenCounts(
        0, 2, COUNTS.completion + COUNTS.overrun, is_estimated=True, tool_uses=COUNTS.tool_uses
    )
    answer = GenerationOutcome("eos", "text", COUNTS, 2.0, None, 1, False, "insight", **called)
    executed = outcomes.finished_to_pb(answer, execution_pb2.ExecuteFinished)
    assert outcomes.outcome_from_pb(executed, COUNTS, 1, is_logged=False) == answer


def test_token_counts_survive_the_contract() -> None:
    usage = values.counts_to_pb("L", COUNTS)
    assert unset(usage) == []
    assert values.counts_from_pb(usage) == COUNTS
    prefills = TokenCounts(1, 2), TokenCounts(3, 4)
    response = outcomes.prefill_response_to_pb(*prefills)
    assert unset(response) == []
    assert outcomes.prefill_response_from_pb(response) == prefills


def test_a_check_survives_its_request_and_its_result() -> None:
    task = CheckTask("r", "q", "a", [CheckSpec("regex", "a+")], "code")
    request = requests.check_request_to_pb(task)
    assert unset(request) == []
    assert requests.check_task_from_pb(request) == task
    step = Step("r", "p", role=CHECK.role, stage=CHECK.stage, trial=CHECK.trial)
    assert outcomes.check_result_from_pb(to_pb(CHECK, tandem_pb2.CheckResult), step) == CHECK
