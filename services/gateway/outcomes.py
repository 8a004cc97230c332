"""How a call of Solve ends, counted where its caller sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from services.shared.observability.availability import Outcome, count_call
from tandem.method.errors import (
    LLM_UNAVAILABLE,
    SLM_UNAVAILABLE,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from tandem.v1 import tandem_pb2

# A caller's own deadline passes before the one that gRPC tells the server: sent rounded up, by at most 1%, and from
# when it comes.
_ROUNDED, _ON_THE_WAY = 0.01, 0.25
_REFUSALS = (InvalidArgument, NotFound, FailedPrecondition, ResourceExhausted, Unauthenticated, PermissionDenied)


class Call:
    """One call, while its block runs. `profile` is the one that was asked for; a request that is joined may have
    another.

    `remaining`: seconds until the caller's deadline, None without one.
    """

    def __init__(self, profile: str, remaining: Callable[[], float | None]) -> None:
        self._profile, self._remaining = profile, remaining
        self._outcome, self._began = Outcome.LEFT, time.monotonic()
        self._most = remaining()

    def __enter__(self) -> Call:
        return self

    def saw(self, event: tandem_pb2.SolveEvent) -> None:
        """An event that the caller gets."""
        self._profile = event.accepted.profile or self._profile
        if event.HasField("completed"):
            is_cancelled = event.completed.stop.reason == tandem_pb2.STOP_REASON_CANCELLED
            self._outcome = Outcome.CANCELLED if is_cancelled else Outcome.ANSWERED

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self._outcome = Outcome.REFUSED if is_refusal(error) else Outcome.FAILED
        elif self._outcome is Outcome.LEFT and self._is_over():
            self._outcome = Outcome.FAILED  # it waited for as long as it could
        count_call(self._profile, self._outcome, time.monotonic() - self._began)

    def _is_over(self) -> bool:
        left = self._remaining()
        return left is not None and self._most is not None and left <= self._most * _ROUNDED + _ON_THE_WAY


def is_refusal(error: Exception) -> bool:
    """Tell whether the caller's request was refused; a model that failed is no caller's doing, whatever its API's
    status.
    """
    return isinstance(error, _REFUSALS) and error.reason not in (LLM_UNAVAILABLE, SLM_UNAVAILABLE)
