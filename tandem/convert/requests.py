"""What a caller asks for, and what a model or the checker is asked to do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from tandem.convert.messages import from_pb, to_pb
from tandem.convert.values import (
    message_from_pb,
    message_to_pb,
    prices_from_pb,
    prices_to_pb,
    task_from_pb,
    task_to_pb,
    tools_from_pb,
    tools_to_pb,
)
from tandem.method.conversation import Message, Task, split_conversation
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import Repair
from tandem.method.request.job import Step
from tandem.method.request.request import Native, SolveRequest
from tandem.method.request.tasks import CheckTask
from tandem.method.roles import LLM, SLM
from tandem.method.tokens import Sampling
from tandem.v1 import checking_pb2, execution_pb2, insight_pb2, tandem_pb2

_ONE_MODEL = ({"threshold": 1.0}, {"max_stage": 0})
StepMessage = insight_pb2.GenerateRequest | execution_pb2.ExecuteRequest | execution_pb2.PrefillRequest


def solve_request_from_pb(request: tandem_pb2.SolveRequest, default_task: Task = "answer") -> SolveRequest:
    """`default_task`: what a request asks for that does not say. Raises InvalidArgument for an unknown task or speaker,
    and for a conversation that has no question.
    """
    history, question = _asked(request)
    if request.tools or any(message.speaker == "tool" for message in history):
        default_task = "chat"
    return from_pb(
        request,
        SolveRequest,
        question=question,
        history=history,
        task=task_from_pb(request.task, default_task),
        tools=tools_from_pb(request.tools, request.tool_choice),
        native=_native(request.native) if request.HasField("native") else None,
        model=_named(request.stop),
    )


def _named(stop: tandem_pb2.StopOverrides) -> str:
    """The contract says with the stop that one model is asked by its name: `pair/large`, `pair/slm`."""
    given = {field.name: value for field, value in stop.ListFields()}
    return {"threshold": LLM, "max_stage": SLM}.get(next(iter(given)), "") if given in _ONE_MODEL else ""


def _native(native: tandem_pb2.Native) -> Native:
    return Native(native.protocol, hashlib.sha256(native.body.encode()).hexdigest()[:32])


def _asked(request: tandem_pb2.SolveRequest) -> tuple[list[Message], str]:
    """What was said before, and the question."""
    if not request.messages:
        return [], request.question
    if request.question:
        raise InvalidArgument("a request has a question or messages, not both", field="messages")
    return split_conversation([message_from_pb(message) for message in request.messages])


def generate_request_to_pb(request: SolveRequest, step: Step) -> insight_pb2.GenerateRequest:
    return insight_pb2.GenerateRequest(
        **_common_to_pb(request, step),
        epoch=step.epoch,
        stage_max_tokens=step.max_tokens,
        sampling=to_pb(request.sampling, tandem_pb2.Sampling),
        alone=step.is_alone,
        stop_strings=request.stop_strings,
        native=request.native.digest if request.native else "",
    )


def execute_request_to_pb(request: SolveRequest, step: Step) -> execution_pb2.ExecuteRequest:
    return execution_pb2.ExecuteRequest(
        **_common_to_pb(request, step),
        epoch=step.epoch,
        stage=step.stage,
        max_tokens=step.max_tokens[-1],
        sampling=to_pb(request.sampling, tandem_pb2.Sampling),
        trial=step.trial,
        stop_strings=request.stop_strings,
        repair=to_pb(step.repair, execution_pb2.Repair) if step.repair else None,
        compared=step.is_compared,
    )


def prefill_request_to_pb(request: SolveRequest, step: Step) -> execution_pb2.PrefillRequest:
    return execution_pb2.PrefillRequest(**_common_to_pb(request, step), stage=step.stage)


def step_from_pb(message: StepMessage, role: str, profile: str) -> tuple[SolveRequest, Step]:
    """What is asked, and the step of it, of any of the three requests; `profile` is the one that the service serves.

    Raises InvalidArgument for an insight without a stage.
    """
    request = SolveRequest(
        message.request_id,
        message.question,
        profile,
        task=task_from_pb(message.task),
        json_schema=message.json_schema,
        history=[message_from_pb(each) for each in message.history],
        tools=tools_from_pb(message.tools, message.tool_choice),
    )
    step = Step(message.request_id, profile, message.profile_digest, role, prices=prices_from_pb(message))
    if isinstance(message, execution_pb2.PrefillRequest):
        return request, replace(step, stage=message.stage)
    request = replace(request, sampling=from_pb(message.sampling, Sampling), stop_strings=list(message.stop_strings))
    step = replace(step, epoch=message.epoch)
    if isinstance(message, insight_pb2.GenerateRequest):
        if not message.stage_max_tokens:
            raise InvalidArgument("say how many tokens each stage may have", field="stage_max_tokens")
        native = Native("", message.native) if message.native else None
        return replace(request, native=native), replace(
            step, max_tokens=tuple(message.stage_max_tokens), is_alone=message.alone
        )
    repair = from_pb(message.repair, Repair) if message.HasField("repair") else None
    return request, replace(
        step,
        stage=message.stage,
        max_tokens=(message.max_tokens,),
        trial=message.trial,
        repair=repair,
        is_compared=message.compared,
    )


def check_request_to_pb(task: CheckTask) -> checking_pb2.CheckRequest:
    return to_pb(task, checking_pb2.CheckRequest)


def check_task_from_pb(request: checking_pb2.CheckRequest) -> CheckTask:
    """Raises InvalidArgument for an unknown task."""
    return from_pb(request, CheckTask, task=task_from_pb(request.task))


def _common_to_pb(request: SolveRequest, step: Step) -> dict[str, Any]:
    return {
        "request_id": step.request_id,
        "question": request.question,
        "prices": prices_to_pb(step.prices),
        "task": task_to_pb(request.task),
        "profile_digest": step.profile_digest,
        "json_schema": request.json_schema,
        "history": [message_to_pb(message) for message in request.history],
        **tools_to_pb(request.tools),
    }
