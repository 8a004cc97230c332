"""What a request can ask for: the keywords of `Client.solve` and `Client.ask`, and the message they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from tandem.client.contract import to_message
from tandem.client.tools import Offered, message, tool, tool_choice
from tandem.method.conversation import Task
from tandem.method.evidence.checks import CheckSpec
from tandem.v1 import tandem_pb2


class SolveOptions(TypedDict, total=False):
    """Options of one request; every one may be left out. Ranges as in protos/tandem/v1/tandem.proto."""

    profile: str
    """Pair of models; the gateway's default if empty."""
    request_id: str
    """Idempotency key: a repeated one joins the running request and is never billed twice. Random if empty."""
    max_cost_usd: float | None
    """Upper bound of the bill."""
    max_llm_tokens: int | None
    """Upper bound of the tokens that the large model generates."""
    threshold: float | None
    """Score 0..1 at which a stage suffices, for all stages; the profile's if None."""
    thresholds: Mapping[int, float] | None
    """The same for single stages, by number; 0 is the bare question."""
    max_stage: int | None
    """Last stage that the large model may generate, >= 0."""
    max_answer_tokens: int | None
    """Upper bound of the answer's tokens."""
    stop: str | Sequence[str] | None
    """Strings that end the answer before the first of them: at most 4, each of 1 to 64 characters."""
    temperature: float | None
    """0 is greedy. None: an API is told nothing, and any other model is greedy."""
    top_p: float | None
    """Nucleus, in (0, 1]."""
    seed: int | None
    """Seed of the draw."""
    effort: str | None
    """How much an API's model is to think, `none` to `max`; no other model follows it."""
    keep_running: bool
    """Do not cancel the request when the client leaves."""
    tenant: str
    """Whom the request is for; at most 64 characters."""
    code: bool
    """The question is the head of a Python function, and the answer its code: short for `task="code"`."""
    task: Task
    """`answer`, `code` or `chat` (free text, with no instruction added); the profile's default if not given."""
    checks: Sequence[str]
    """Checks that the answer must pass, beside the profile's: `name` or `name:argument`, as in "regex:[0-9]+"."""
    json_schema: str
    """JSON schema of the answer: both models are held to it."""
    tools: Sequence[Offered]
    """What the answer may call, in OpenAI's shape; the result's `tool_calls` are to be run by the caller."""
    tool_choice: str
    """`auto` (the default), `none`, `required`, or the name of the tool that must be called."""
    allowed_tools: Sequence[str]
    """Names of the tools that may be called; all if not given."""
    parallel_tool_calls: bool | None
    """False: one call at most."""
    session: str
    """The session that this is a turn of; a conversation without one is recognised by the user's first turn."""
    max_session_usd: float | None
    """The turn begins only while the session has cost less."""


Question = str | Sequence[Mapping[str, Any]]
"""A question, or a conversation: messages with `role` (system, user, assistant or tool) and `content`, the user's or a
tool's last; the assistant's `tool_calls` and a tool's `tool_call_id` as in OpenAI's chat completions.
"""


def solve_request(question: Question, **options: Unpack[SolveOptions]) -> tandem_pb2.SolveRequest:
    """The message for a question or a conversation. Generates a request id if none is given."""
    task: str = "code" if options.get("code", False) else options.get("task", "unspecified")
    return to_message(
        tandem_pb2.SolveRequest,
        request_id=options.get("request_id") or uuid4().hex,
        question=question if isinstance(question, str) else "",
        messages=[] if isinstance(question, str) else [message(given) for given in question],
        profile=options.get("profile", ""),
        budget=to_message(
            tandem_pb2.Budget,
            max_cost_usd=options.get("max_cost_usd"),
            max_llm_tokens=options.get("max_llm_tokens"),
        ),
        stop=to_message(
            tandem_pb2.StopOverrides,
            threshold=options.get("threshold"),
            thresholds=options.get("thresholds"),
            max_stage=options.get("max_stage"),
        ),
        sampling=to_message(
            tandem_pb2.Sampling,
            temperature=options.get("temperature"),
            top_p=options.get("top_p"),
            seed=options.get("seed"),
            effort=options.get("effort"),
        ),
        keep_running=options.get("keep_running", False),
        tenant=options.get("tenant", ""),
        task=tandem_pb2.Task.Value(f"TASK_{task.upper()}"),
        checks=[_check(given) for given in options.get("checks", ())],
        json_schema=options.get("json_schema", ""),
        max_answer_tokens=options.get("max_answer_tokens"),
        stop_strings=_stop_strings(options.get("stop")),
        tools=[tool(given) for given in options.get("tools", ())],
        tool_choice=_tool_choice(options),
        session=options.get("session", ""),
        max_session_usd=options.get("max_session_usd"),
    )


def _tool_choice(options: SolveOptions) -> tandem_pb2.ToolChoice | None:
    if not options.get("tools"):
        return None
    choice, allowed = options.get("tool_choice", "auto"), options.get("allowed_tools", ())
    return tool_choice(choice, allowed, options.get("parallel_tool_calls"))


def _stop_strings(given: str | Sequence[str] | None) -> Sequence[str]:
    return [given] if isinstance(given, str) else given or []


def _check(given: str) -> tandem_pb2.Check:
    spec = CheckSpec.parse(given)
    return to_message(tandem_pb2.Check, name=spec.name, argument=spec.argument)
