"""What a caller asks for, and what a model or the checker is asked to do."""

from __future__ import annotations

import hashlib
from typing import Any

from tandem.convert.values import (
    check_from_pb,
    check_to_pb,
    message_from_pb,
    message_to_pb,
    optional,
    prices_from_pb,
    prices_to_pb,
    sampling_from_pb,
    sampling_to_pb,
    task_from_pb,
    task_to_pb,
    tools_from_pb,
    tools_to_pb,
)
from tandem.method.conversation import Message, Task, split_conversation
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import Repair
from tandem.method.request.request import Budget, Native, SolveRequest, StopOverrides
from tandem.method.request.tasks import CheckTask, ModelTask
from tandem.v1 import checking_pb2, execution_pb2, insight_pb2, tandem_pb2

TaskRequest = insight_pb2.GenerateRequest | execution_pb2.ExecuteRequest | execution_pb2.PrefillRequest


def solve_request_from_pb(request: tandem_pb2.SolveRequest, default_task: Task = "answer") -> SolveRequest:
    """`default_task`: what a request asks for that does not say. Raises InvalidArgument for an unknown task or speaker,
    and for a conversation that has no question.
    """
    history, question = _asked(request)
    if request.tools or any(message.speaker == "tool" for message in history):
        default_task = "chat"
    return SolveRequest(
        request_id=request.request_id,
        question=question,
        history=history,
        profile=request.profile,
        budget=Budget(optional(request.budget, "max_cost_usd"), optional(request.budget, "max_llm_tokens")),
        stop=StopOverrides(
            threshold=optional(request.stop, "threshold"),
            thresholds=dict(request.stop.thresholds),
            max_stage=optional(request.stop, "max_stage"),
        ),
        sampling=sampling_from_pb(request.sampling),
        tenant=request.tenant,
        task=task_from_pb(request.task, default_task),
        checks=[check_from_pb(check) for check in request.checks],
        json_schema=request.json_schema,
        max_answer_tokens=optional(request, "max_answer_tokens"),
        stop_strings=list(request.stop_strings),
        tools=tools_from_pb(request.tools, request.tool_choice),
        session=request.session,
        max_session_usd=optional(request, "max_session_usd"),
        native=_native(request.native) if request.HasField("native") else None,
    )


def _native(native: tandem_pb2.Native) -> Native:
    return Native(native.protocol, hashlib.sha256(native.body.encode()).hexdigest()[:32])


def _asked(request: tandem_pb2.SolveRequest) -> tuple[list[Message], str]:
    """What was said before, and the question."""
    if not request.messages:
        return [], request.question
    if request.question:
        raise InvalidArgument("a request has a question or messages, not both", field="messages")
    return split_conversation([message_from_pb(message) for message in request.messages])


def generate_request_to_pb(task: ModelTask) -> insight_pb2.GenerateRequest:
    return insight_pb2.GenerateRequest(
        **_common_to_pb(task),
        epoch=task.epoch,
        stage_max_tokens=task.max_tokens,
        sampling=sampling_to_pb(task.sampling),
        alone=task.llm_alone,
        stop_strings=task.stop_strings,
        native=task.native,
    )


def execute_request_to_pb(task: ModelTask) -> execution_pb2.ExecuteRequest:
    return execution_pb2.ExecuteRequest(
        **_common_to_pb(task),
        epoch=task.epoch,
        stage=task.stage,
        max_tokens=task.max_tokens[-1],
        sampling=sampling_to_pb(task.sampling),
        trial=task.trial,
        stop_strings=task.stop_strings,
        repair=execution_pb2.Repair(answer=task.repair.answer, failure=task.repair.failure) if task.repair else None,
        compared=task.is_compared,
    )


def prefill_request_to_pb(task: ModelTask) -> execution_pb2.PrefillRequest:
    return execution_pb2.PrefillRequest(**_common_to_pb(task), stage=task.stage)


def model_task_from_pb(request: TaskRequest, profile: str) -> ModelTask:
    """The task of any of the three requests; `profile` is the one that the service serves."""
    common: dict[str, Any] = {
        "request_id": request.request_id,
        "question": request.question,
        "profile": profile,
        "profile_digest": request.profile_digest,
        "prices": prices_from_pb(request),
        "task": task_from_pb(request.task),
        "json_schema": request.json_schema,
        "history": tuple(message_from_pb(message) for message in request.history),
        "tools": tools_from_pb(request.tools, request.tool_choice),
    }
    if isinstance(request, execution_pb2.PrefillRequest):
        return ModelTask(**common, stage=request.stage)
    common |= {
        "epoch": request.epoch,
        "sampling": sampling_from_pb(request.sampling),
        "stop_strings": tuple(request.stop_strings),
    }
    if isinstance(request, execution_pb2.ExecuteRequest):
        repair = Repair(request.repair.answer, request.repair.failure) if request.HasField("repair") else None
        return ModelTask(
            **common,
            stage=request.stage,
            max_tokens=(request.max_tokens,),
            trial=request.trial,
            repair=repair,
            is_compared=request.compared,
        )
    return ModelTask(
        **common, max_tokens=tuple(request.stage_max_tokens), llm_alone=request.alone, native=request.native
    )


def check_request_to_pb(task: CheckTask) -> checking_pb2.CheckRequest:
    """Stage, role and trial stay with the caller, who puts them on the results."""
    return checking_pb2.CheckRequest(
        request_id=task.request_id,
        checks=[check_to_pb(check) for check in task.checks],
        question=task.question,
        answer=task.answer,
        task=task_to_pb(task.task),
    )


def check_task_from_pb(request: checking_pb2.CheckRequest) -> CheckTask:
    """Raises InvalidArgument for an unknown task."""
    checks = [check_from_pb(check) for check in request.checks]
    return CheckTask(request.request_id, request.question, request.answer, checks, task_from_pb(request.task))


def _common_to_pb(task: ModelTask) -> dict[str, Any]:
    return {
        "request_id": task.request_id,
        "question": task.question,
        "prices": prices_to_pb(task.prices),
        "task": task_to_pb(task.task),
        "profile_digest": task.profile_digest,
        "json_schema": task.json_schema,
        "history": [message_to_pb(message) for message in task.history],
        **tools_to_pb(task.tools),
    }
