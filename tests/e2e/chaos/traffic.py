"""What callers do while faults strike: ask, leave, come back, ask twice. Each request ends in one of four ways."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import grpc

from tandem import AnswerDelta, Client, InsightDelta, RequestError, to_dict
from tandem.client.request import solve_request
from tandem.v1 import tandem_pb2
from tests.e2e.chaos import batch_caller, http_caller
from tests.e2e.chaos.system import System

SCRIPTS = (
    "[ms=5 scores=16:0.9 slm_eos=40]",
    "[ms=5 scores=32:0.9 slm_eos=60]",
    "[ms=5 slm_eos=50]",
    "[ms=5 llm_eos=45]",
    "[ms=5 scores=0:0.9 slm_eos=60]",
)
_BOUND_SECONDS = 120.0  # to the end of a request, whatever strikes; and, for its caller, of asking again and again
_PATIENCE_SECONDS = 400.0  # of a caller, on a busy machine; less than an attempt may take
_TRY_AGAIN_SECONDS = 0.3
_CLEAR = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "FAILED_PRECONDITION", "ABORTED", "NOT_FOUND"}
"""gRPC statuses by which a caller knows what to do."""
_MAY_PASS = {"TEMPORAL_UNAVAILABLE", "REQUEST_LOG_UNAVAILABLE", "TEXT_WAS_LOST", "FILE_STORE_UNAVAILABLE"}
"""Reasons of an UNAVAILABLE that says nothing about the request, beside a gateway that is gone or starts."""


class Behaviour(StrEnum):
    ASK = "ask"
    LEAVE = "leave"
    DETACH = "detach"
    COME_BACK = "come back"
    TWICE = "twice"
    HTTP = "http"
    BATCH = "batch"


_MAY_BE_CANCELLED = Behaviour.LEAVE, Behaviour.COME_BACK, Behaviour.HTTP
"""One who was away for longer than the gateway's grace, by intent or by a fault."""


class Ending(StrEnum):
    ANSWER = "answer"
    CANCELLED = "cancelled"
    CLEAR_ERROR = "clear error"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True)
class Request:
    request_id: str
    question: str
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Outcome:
    """`bill` is the SolveResult that the gateway has, None where it has none; `says` what was wrong.
    `may_be_cancelled`: its caller was away, or was told.
    """

    request: Request
    ending: Ending
    bill: dict[str, Any] | None
    says: str = ""
    may_be_cancelled: bool = False


def draw(dice: random.Random, count: int, name: str) -> list[Request]:
    """`name` makes the ids unique."""

    def one(number: int) -> Request:
        request_id, script, behaviour = f"{name}-{number}", dice.choice(SCRIPTS), dice.choice(list(Behaviour))
        if behaviour is Behaviour.BATCH:
            request_id = batch_caller.request_id(request_id)
        return Request(request_id, f"{script} {name} {number}", behaviour)

    return [one(number) for number in range(count)]


def run(system: System, requests: Sequence[Request]) -> list[Outcome]:
    """All at once, each to its end."""
    with ThreadPoolExecutor(2 * len(requests)) as pool:
        return list(pool.map(lambda request: _follow(system, pool, request), requests))


def _follow(system: System, pool: ThreadPoolExecutor, request: Request) -> Outcome:
    error, began = None, time.monotonic()
    try:
        if request.behaviour is Behaviour.TWICE:
            other = pool.submit(_ask, system, request)
            _ask(system, request)
            other.result()
        else:
            _ask(system, request)
    except RequestError as refused:
        error = refused
    seconds = time.monotonic() - began
    outcome = _judge(request, error, *_end_of(system.client, request))
    if seconds > _PATIENCE_SECONDS:
        return replace(outcome, ending=Ending.DEFECT, says=f"its caller waited {seconds:.0f} s; {outcome.says}")
    return outcome


def _ask(system: System, request: Request) -> None:
    """Read as this caller does; one that lost the gateway, or was told to try again, does."""
    message = solve_request(
        request.question, request_id=request.request_id, keep_running=request.behaviour is Behaviour.DETACH
    )
    deadline = time.monotonic() + _BOUND_SECONDS
    leaves_after = {Behaviour.LEAVE: 5, Behaviour.DETACH: 5, Behaviour.COME_BACK: 8}.get(request.behaviour, 10**9)
    while True:
        try:
            if request.behaviour is Behaviour.HTTP:
                return http_caller.read(system.http, request.request_id, request.question)
            if request.behaviour is Behaviour.BATCH:
                return batch_caller.follow(system.client.batches, request.request_id, request.question)
            has_left = _read(system.client, message, leaves_after, cancels=request.behaviour is Behaviour.LEAVE)
            if not has_left or request.behaviour is not Behaviour.COME_BACK:
                return
            leaves_after = 10**9
        except RequestError as error:
            if not (error.is_connection_lost or error.reason in _MAY_PASS) or time.monotonic() > deadline:
                raise
            time.sleep(_TRY_AGAIN_SECONDS)


def _read(client: Client, message: tandem_pb2.SolveRequest, leaves_after: int, *, cancels: bool) -> bool:
    """Whether the caller left before the end."""
    for event in client.solve_request(message, cancels=cancels):
        if isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= leaves_after:
            return True
    return False


def _end_of(client: Client, request: Request) -> tuple[str, dict[str, Any] | None]:
    """The state of the request once it has ended, and its bill; "running" where it does not end, "unknown" where
    nothing began.
    """
    deadline, state = time.monotonic() + _BOUND_SECONDS, "running"
    while time.monotonic() < deadline:
        try:
            found = client.get(request.request_id)
        except RequestError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return "unknown", None
        else:
            state = tandem_pb2.RequestState.Name(found.state).removeprefix("REQUEST_STATE_").lower()
            if state != "running":
                return state, to_dict(found.result) if found.HasField("result") else None
        time.sleep(_TRY_AGAIN_SECONDS)
    return state, None


def _judge(request: Request, error: RequestError | None, state: str, bill: dict[str, Any] | None) -> Outcome:
    code = error.code.name if error else ""
    says = f"{state}; {code} {error.reason}: {error}" if error else state
    is_bare = code == "CANCELLED" and error is not None and not error.reason  # the caller has not cancelled it
    if state == "running" or is_bare or (code and code not in _CLEAR):
        return Outcome(request, Ending.DEFECT, bill, says)
    if bill is None:
        return Outcome(request, Ending.CLEAR_ERROR if error or state == "unknown" else Ending.DEFECT, None, says)
    if bill["stop"]["reason"] == "cancelled":
        return Outcome(
            request, Ending.CANCELLED, bill, says, request.behaviour in _MAY_BE_CANCELLED or error is not None
        )
    if bill["answer"]:
        return Outcome(request, Ending.ANSWER, bill, says)
    return Outcome(request, Ending.CLEAR_ERROR if error or state == "failed" else Ending.DEFECT, bill, says)


def leave_nothing(client: Client, requests: Sequence[Request]) -> None:
    """Cancel what still runs, so that the next round begins with nothing."""
    for request in requests:
        with suppress(RequestError):
            client.cancel(request.request_id)
