"""What replies of all three APIs share: how they are written, and what they say of a result: the tokens that were paid
for, and in `tandem` what the vendors' APIs have no name for.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tandem.client.contract import readable
from tandem.client.live_text import Piece
from tandem.client.results import bill_lines, final_value, to_dict
from tandem.method.roles import LLM
from tandem.v1 import tandem_pb2

Data = dict[str, Any]
_ERRORS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SHOWN = (
    "request_id",
    "trace_id",
    "profile",
    "stop",
    "cost",
    "usage",
    "stages",
    "checks",
    "trials",
    "timings_ms",
    "notes",
    "answered_by",
)
_CUT = (
    "the answer was cut before its end: raise the request's cap of tokens or its budget, or the profile's "
    "execution.max_tokens"
)


@dataclass(frozen=True, slots=True)
class ApiError:
    """A request that failed. `status` is HTTP's; `param` is the place in the body, where there is one."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None

    @property
    def body(self) -> Data:
        """In OpenAI's shape."""
        kind = _ERRORS.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return {"error": {"message": readable(self.message), "type": kind, "param": self.param, "code": self.code}}


@dataclass(slots=True)
class Reply(ABC):
    """One request's reply. Every method but `whole` gives the events of a stream. `is_passed`: the large model's API is
    to send events of its own, and the first of them begins the reply.
    """

    end: ClassVar[bytes] = b""
    """What follows the last event."""
    request_id: str
    profile: str
    is_passed: bool = field(default=False, kw_only=True)
    _has_begun: bool = field(default=False, init=False)

    @property
    def ping(self) -> Data | None:
        """The event that is sent while nothing comes, where the protocol has one."""
        return None

    @abstractmethod
    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        """The reply without a stream. `native`: what the large model's API sent, in the caller's own protocol."""

    def first(self) -> list[Data]:
        return [] if self.is_passed else self._begun()

    @abstractmethod
    def piece(self, piece: Piece) -> list[Data]: ...

    @abstractmethod
    def last(self, result: tandem_pb2.SolveResult) -> list[Data]: ...

    @abstractmethod
    def failure(self, error: ApiError) -> list[Data]: ...

    def _begun(self) -> list[Data]:
        """The events that begin the reply, once."""
        if self._has_begun:
            return []
        self._has_begun = True
        return self._beginning()

    @abstractmethod
    def _beginning(self) -> list[Data]: ...


class Passed(ABC):
    """What the large model's API itself has sent. Its events come back as they came. Tandem's own are the id, the
    model's name and the time of creation, the order number of an event, and the bill: what was paid counts every model
    (`with_paid`). `is_used`: there was an event.
    """

    is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """The events that can be sent on now."""
        sent = [self._sent(json.loads(text)) for text in events]
        self.is_used = self.is_used or bool(sent)
        return [event for event in sent if event is not None]

    @abstractmethod
    def _sent(self, event: Data) -> Data | None:
        """None of an event that is kept, for the end or for the whole."""


def own_fields(result: tandem_pb2.SolveResult, metadata: Mapping[str, str]) -> Data:
    """What the vendors' APIs have no name for; `metadata` is repeated as it was given."""
    everything = to_dict(result)
    notes = [*result.notes, *([] if result.complete else [_CUT])]
    answer = {"answer": value} if (value := final_value(result)) else {}
    return {name: everything[name] for name in _SHOWN} | {"metadata": dict(metadata), "notes": notes} | answer


def usage(result: tandem_pb2.SolveResult) -> Data:
    """All tokens that were paid for: prompts of all models and of the scorer, and whatever a model generated.

    The large model's are reasoning, unless its text is the answer.
    """
    lines = bill_lines(result)
    cached = sum(line.usage.cached_input_tokens for line in lines)
    prompt = cached + sum(line.usage.input_tokens for line in lines)
    generated = sum(line.generated for line in lines)
    is_llms = result.answered_by == tandem_pb2.ROLE_LLM
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": sum(line.cache_writes for line in lines),
        },
        "completion_tokens_details": {
            "reasoning_tokens": 0 if is_llms else sum(line.generated for line in lines if line.role == LLM)
        },
        "cost": result.cost.usd if result.cost.HasField("usd") else None,
    }


def with_paid(reported: Mapping[str, Any], paid: Mapping[str, Any], kept: str = "") -> Data:
    """A usage as the API `reported` it, with the counts of all that was `paid`, of every model: where no other model
    has written, they are the API's own. `kept`: the details that only the API knows.
    """
    own = {name: value for name, value in paid.items() if name != kept or not reported.get(kept)}
    details = {
        name: {**reported[name], **value}
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(reported.get(name), dict)
    }
    return {**reported, **own, **details}
