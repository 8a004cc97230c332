"""Admission: check a request against its profile and derive the workflow's input from it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

from services.gateway.bounds import check_bounds
from services.gateway.checks import applicable_checks, check_call_checks, check_profile
from services.gateway.own_body import as_passed, passes
from services.gateway.planning import plan_of
from services.gateway.policies import Serving
from tandem.access.keys import TENANT
from tandem.convert.requests import solve_request_from_pb
from tandem.method.conversation import TOKENS_PER_MESSAGE, Message
from tandem.method.cost.allowance import check_budget
from tandem.method.cost.sent import Sent
from tandem.method.errors import FailedPrecondition, InvalidArgument
from tandem.method.profile.profile import Profile
from tandem.method.request.job import Job
from tandem.method.request.plan import Judge
from tandem.method.request.request import Budget, SolveRequest, StopOverrides
from tandem.method.request.session import NAME
from tandem.method.roles import LLM
from tandem.method.tokens import EFFORTS, Sampling
from tandem.method.tools import TOKENS_PER_TOOL, check_tools
from tandem.v1 import tandem_pb2

_REQUEST_ID = re.compile(r"([A-Za-z0-9._-]{1,64}/)?[A-Za-z0-9._-]{1,128}")  # after the tenant, where callers have one
_BYTES_PER_PART = 160  # of a message, call or tool beside its text: role, id, kind
_MAX_STOP_LENGTH = 64
_MAX_CHARACTERS_PER_TOKEN = 32  # on average; the longest tokens, of white space, have some hundred
# Below, logits divided by it leave the range of a float16; every back end takes what lies between.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.01, 2.0
_UNSAID = {"temperature": 0.0, "top_p": 1.0, "seed": 0}  # in fingerprints, as they were before it was told apart


class Admission:
    """`count_tokens[profile]` counts a question's tokens with the profile's small model. `withdrawn` are profiles that
    begin no new request. `is_searchable`: see Job.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        default: str,
        count_tokens: Mapping[str, Callable[[str], int]],
        withdrawn: frozenset[str] = frozenset(),
        *,
        is_searchable: bool = False,
    ) -> None:
        self.profiles, self.default, self._count_tokens, self.withdrawn = profiles, default, count_tokens, withdrawn
        self.is_searchable = is_searchable
        for profile in profiles.values():
            check_profile(profile)
            if profile.shadow.judge and profile.shadow.judge not in profiles:
                raise InvalidArgument(
                    f"profile {profile.name}: the shadows' judge {profile.shadow.judge!r} is not served here",
                    field="profile",
                )

    def checked(self, request: tandem_pb2.SolveRequest) -> SolveRequest:
        """Return what is asked, as far as that is told without reading texts. Raises InvalidArgument naming the
        field.
        """
        check_bounds(request)
        default = self._profile(request.profile).default_task
        asked = solve_request_from_pb(request, default.messages if request.messages else default.question)
        check_request(asked)
        return asked

    def admit(
        self, request: SolveRequest, trace_id: str, serving: Serving | None = None, *, is_unattended: bool = False
    ) -> Job:
        """Return the workflow's input of a request that was `checked` and permitted; its JSON schemas `check_schemas`
        has yet to try. `serving`: by a stricter policy than the profile's, and as what its outcome counts.
        `is_unattended`: it goes on without a reader.

        Raises InvalidArgument naming the field, ResourceExhausted for a budget that is too small.
        """
        profile = serving.profile if serving else self._profile(request.profile)
        tokens, most = self.count(request)
        if tokens > most:
            raise _too_long(request, profile, f"{tokens} tokens, {tokens - most} too many", most)
        _check_prompts(profile, request)
        plan = plan_of(profile, request, serving, self._judge(profile))
        check_budget(plan, request.budget, tokens)
        native = request.native if passes(profile, plan, request) else None
        named = replace(request, request_id=request.request_id or uuid4().hex, native=native)
        most = _sent(profile, request).most_tokens if any(model.is_api for model in plan.models.values()) else 0
        checks = applicable_checks(profile, request)
        return as_passed(
            Job(
                named,
                plan,
                tokens,
                trace_id,
                is_searchable=self.is_searchable,
                checks=checks,
                most_prompt=most,
                is_unattended=is_unattended,
            )
        )

    def must_begin(self, profile: str) -> None:
        """Raises FailedPrecondition where no new request begins with it."""
        if profile in self.withdrawn:
            raise FailedPrecondition(
                f"profile {profile!r} is being withdrawn: its requests go on, and no new one begins; others are "
                "served here",
                reason="PROFILE_WITHDRAWN",
            )

    def max_session_usd(self, profile: str) -> float | None:
        """Return what a session of the profile may cost; None does not limit."""
        return self._profile(profile).max_session_usd

    def tells_effort(self, profile: str) -> bool:
        """Tell whether the profile's large model is behind an API."""
        return profile in self.profiles and self.profiles[profile].llm.api is not None

    def _judge(self, profile: Profile) -> Judge | None:
        """Return the judge of the answers of the profile's shadows."""
        if not (profile.shadow.share and profile.shadow.judge):
            return None
        judge = self.profiles[profile.shadow.judge]
        return Judge(judge.name, judge.digest, judge.llm.name, judge.prices.of(LLM))

    def count(self, request: SolveRequest) -> tuple[int, int]:
        """Return tokens of all that is asked, and how many its profile takes. Raises InvalidArgument where a text is
        far too long to count.
        """
        profile = self._profile(request.profile)
        text = _all_asked(request)
        is_conversation = request.history or request.task == "chat"
        limit = (is_conversation and profile.max_conversation_tokens) or profile.max_question_tokens
        # Before any work on a text: tokenising one that cannot be short enough takes seconds and gigabytes.
        if len(text) > limit * _MAX_CHARACTERS_PER_TOKEN:
            most = limit * _MAX_CHARACTERS_PER_TOKEN
            raise _too_long(
                request, profile, f"{len(text)} characters, {len(text) - most} more than {limit} tokens may have", limit
            )
        tokens = self._count_tokens[profile.name](text) + TOKENS_PER_MESSAGE * len(request.history)
        tokens += TOKENS_PER_TOOL * len(request.tools.tools)
        return tokens, limit

    def _profile(self, name: str) -> Profile:
        try:
            return self.profiles[name or self.default]
        except KeyError:
            raise InvalidArgument(
                f"unknown profile {name!r}; served here: {', '.join(self.profiles)}",
                field="profile",
                reason="UNKNOWN_PROFILE",
            ) from None


def _all_asked(request: SolveRequest) -> str:
    said = "".join(message.whole for message in request.history)
    offered = "".join(tool.whole for tool in request.tools.tools)
    return offered + said + request.question + request.json_schema


def _sent(profile: Profile, request: SolveRequest) -> Sent:
    """Return what is sent to an API that is not given the caller's own body: what is asked, within the profile's
    prompts.
    """
    prompts = sum(len(text.encode()) for text in profile.prompts.model_dump().values())
    num_parts = len(request.tools.tools) + sum(1 + len(message.calls) for message in request.history)
    return Sent(len(_all_asked(request).encode(errors="surrogatepass")) + prompts + _BYTES_PER_PART * num_parts)


def _check_prompts(profile: Profile, request: SolveRequest) -> None:
    if not (request.tools.may_call or profile.takes(request.task)):
        raise InvalidArgument(f"profile {profile.name} has no prompt for {request.task}", field="task")
    if request.json_schema and not (request.tools.tools or profile.prompts.structured):
        raise InvalidArgument(f"profile {profile.name} has no prompt for a JSON schema", field="json_schema")


@dataclass(frozen=True, slots=True)
class _Terms:
    tenant: str
    budget: Budget
    stop: StopOverrides
    sampling: Sampling


def request_fingerprint(request: SolveRequest, profile: str, asked: Budget) -> str:
    """Distinguishes a repeated request from another one under the same id: whatever changes its answer, its price or
    its payer.

    `asked` is the budget that the caller named: a change of the tenant's limits makes no other request of it.
    """
    identity = f"{profile}\0{request.question}" + (f"\0{request.task}" if request.task != "answer" else "")
    if request.history:
        identity += f"\0{json.dumps([_said(message) for message in request.history])}"
    identity += "".join(f"\0{check.name}:{check.argument}" for check in request.checks)
    identity += f"\0{request.json_schema}" if request.json_schema else ""
    identity += f"\0stop:{json.dumps(request.stop_strings)}" if request.stop_strings else ""
    identity += f"\0max_answer_tokens:{request.max_answer_tokens}" if request.max_answer_tokens is not None else ""
    identity += f"\0native:{request.native.digest}" if request.native else ""
    identity += f"\0tools:{json.dumps(asdict(request.tools), sort_keys=True)}" if request.tools.tools else ""
    terms = asdict(_Terms(request.tenant, asked, request.stop, request.sampling))
    terms["sampling"] = _UNSAID | request.sampling.said
    identity += f"\0{json.dumps(terms, sort_keys=True)}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _said(message: Message) -> list[Any]:
    calls = [[call.id, call.name, call.arguments] for call in message.calls]
    return [message.speaker, message.text, *([calls, message.call_id] if calls or message.call_id else [])]


def check_request_id(request_id: str) -> str:
    """Return the id, which may be a request's. Raises InvalidArgument."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidArgument("a request id has 1 to 128 of the characters A-Z a-z 0-9 . _ -", field="request_id")
    return request_id


def _too_long(request: SolveRequest, profile: Profile, length: str, limit: int) -> InvalidArgument:
    what = "the conversation" if request.history else "the question"
    more = ["its JSON schema"] * bool(request.json_schema) + ["its tools"] * bool(request.tools.tools)
    what = " and ".join([what, *more]) + (" have" if more else " has")
    return InvalidArgument(
        f"{what} {length}; profile {profile.name} takes {limit}",
        field="messages" if request.history else "question",
        reason="QUESTION_TOO_LONG",
    )


def check_request(request: SolveRequest) -> None:
    """What can be said of it without its profile. Raises InvalidArgument naming the field."""
    if request.request_id:
        check_request_id(request.request_id)
    if not request.last_said.strip() and not request.answers_tool:
        raise InvalidArgument("the question is empty", field="question", reason="EMPTY_QUESTION")
    _check_tools(request)
    if request.json_schema and request.task == "code":
        raise InvalidArgument(
            "a program follows no JSON schema: leave out json_schema or the task", field="json_schema"
        )
    if request.tenant and not TENANT.fullmatch(request.tenant):
        raise InvalidArgument("a tenant has 1 to 64 of the characters A-Z a-z 0-9 . _ -", field="tenant")
    if request.session and not NAME.fullmatch(request.session):
        raise InvalidArgument("a session has 1 to 128 of the characters A-Z a-z 0-9 . _ : -", field="session")
    most = request.max_session_usd
    if most is not None and not (math.isfinite(most) and most >= 0):
        raise InvalidArgument(f"a session's limit is a number from 0, not {most}", field="max_session_usd")
    if request.max_answer_tokens == 0:
        raise InvalidArgument("an answer has at least one token", field="max_answer_tokens")
    cost = request.budget.max_cost_usd
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise InvalidArgument(f"a cost limit is a positive number, not {cost}", field="budget.max_cost_usd")
    for name, value in (
        ("stop.threshold", request.stop.threshold),
        *(("stop.thresholds", v) for v in request.stop.thresholds.values()),
    ):
        if value is not None and not 0 <= value <= 1:
            raise InvalidArgument(f"a threshold lies in 0..1, not {value}", field=name)
    _check_stop_strings(request.stop_strings)
    if request.sampling.effort not in (None, *EFFORTS):
        raise InvalidArgument(f"an effort is one of {', '.join(EFFORTS)}", field="sampling.effort")
    _check_sampling(request.sampling)


def _check_tools(request: SolveRequest) -> None:
    check_tools(request.tools)
    if request.task != "chat" and (request.tools.tools or request.answers_tool):
        raise InvalidArgument("tools are called in conversations: the task is chat", field="task")
    check_call_checks(request)


def _check_stop_strings(strings: Sequence[str]) -> None:
    for string in strings:
        if not 1 <= len(string) <= _MAX_STOP_LENGTH:
            raise InvalidArgument(
                f"a stop string has 1 to {_MAX_STOP_LENGTH} characters, not {len(string)}", field="stop_strings"
            )


def _check_sampling(sampling: Sampling) -> None:
    temperature, top_p = sampling.temperature or 0, 1 if sampling.top_p is None else sampling.top_p
    if temperature != 0 and not _MIN_TEMPERATURE <= temperature <= _MAX_TEMPERATURE:
        limits = f"{_MIN_TEMPERATURE}..{_MAX_TEMPERATURE}"
        raise InvalidArgument(
            f"temperature is 0 (greedy) or lies in {limits}, not {temperature}", field="sampling.temperature"
        )
    if not 0 < top_p <= 1:
        raise InvalidArgument(f"top_p lies above 0 and at most at 1, not at {top_p}", field="sampling.top_p")
