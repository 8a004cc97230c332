"""What callers do while faults strike: ask, leave, come back, ask twice. Each request ends in one of four ways."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc

from tandem import AnswerDelta, Client, InsightDelta, RequestError, to_dict
from tandem.request import solve_request
from tandem.v1 import tandem_pb2

SCRIPTS = (
    "[ms=5 scores=16:0.9 slm_eos=40]",
    "[ms=5 scores=32:0.9 slm_eos=60]",
    "[ms=5 slm_eos=50]",
    "[ms=5 llm_eos=45]",
    "[ms=5 scores=0:0.9 slm_eos=60]",
)
_BOUND_SECONDS = 120.0  # to the end of a request, whatever strikes
_TRY_AGAIN_SECONDS = 0.3
_CLEAR = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "FAILED_PRECONDITION", "ABORTED", "NOT_FOUND"}
"""gRPC statuses by which a caller knows what to do."""


class Behaviour(StrEnum):
    ASK = "ask"
    LEAVE = "leave"
    DETACH = "detach"
    COME_BACK = "come back"
    TWICE = "twice"


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
    """`bill` is the SolveResult that the gateway has, None where it has none; `says` what was wrong."""

    request: Request
    ending: Ending
    bill: dict[str, Any] | None
    says: str = ""


def draw(dice: random.Random, count: int, name: str) -> list[Request]:
    """`name` makes the ids unique."""
    return [
        Request(f"{name}-{n}", f"{dice.choice(SCRIPTS)} {name} {n}", dice.choice(list(Behaviour))) for n in range(count)
    ]


def run(client: Client, requests: Sequence[Request]) -> list[Outcome]:
    """All at once, each to its end."""
    with ThreadPoolExecutor(2 * len(requests)) as pool:
        return list(pool.map(lambda request: _follow(client, pool, request), requests))


def _follow(client: Client, pool: ThreadPoolExecutor, request: Request) -> Outcome:
    error = None
    try:
        if request.behaviour is Behaviour.TWICE:
            other = pool.submit(_ask, client, request)
            _ask(client, request)
            other.result()
        else:
            _ask(client, request)
    except RequestError as refused:
        error = refused
    return _judge(request, error, *_end_of(client, request))


def _ask(client: Client, request: Request) -> None:
    """Read as this caller does; one that lost the gateway, or was told to try again, does."""
    message = solve_request(
        request.question, request_id=request.request_id, keep_running=request.behaviour is Behaviour.DETACH
    )
    deadline = time.monotonic() + _BOUND_SECONDS
    leaves_after = {Behaviour.LEAVE: 5, Behaviour.DETACH: 5, Behaviour.COME_BACK: 8}.get(request.behaviour, 10**9)
    while True:
        try:
            has_left = _read(client, message, leaves_after, cancels=request.behaviour is Behaviour.LEAVE)
            if not has_left or request.behaviour is not Behaviour.COME_BACK:
                return
            leaves_after = 10**9
        except RequestError as error:
            if error.code is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(_TRY_AGAIN_SECONDS)


def _read(client: Client, message: tandem_pb2.SolveRequest, leaves_after: int, *, cancels: bool) -> bool:
    """Whether the caller left before the end."""
    for event in client.solve_request(message, cancels=cancels):
        if isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= leaves_after:
            return True
    return False


def _end_of(client: Client, request: Request) -> tuple[str, dict[str, Any] | None]:
    """The state of the request once it has ended, and its bill; "running" where it does not end, "unknown" where nothing began."""
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
    if state == "running" or (code and code not in _CLEAR):
        return Outcome(request, Ending.DEFECT, bill, says)
    if bill is None:
        return Outcome(request, Ending.CLEAR_ERROR if error else Ending.DEFECT, None, says)
    if bill["stop"]["reason"] == "cancelled":
        may_be = request.behaviour in (Behaviour.LEAVE, Behaviour.COME_BACK) or error is not None
        return Outcome(request, Ending.CANCELLED if may_be else Ending.DEFECT, bill, says)
    if bill["answer"]:
        return Outcome(request, Ending.ANSWER, bill, says)
    return Outcome(request, Ending.CLEAR_ERROR if error or state == "failed" else Ending.DEFECT, bill, says)


def leave_nothing(client: Client, requests: Sequence[Request]) -> None:
    """Cancel what still runs, so that the next round begins with nothing."""
    for request in requests:
        with suppress(RequestError):
            client.cancel(request.request_id)
