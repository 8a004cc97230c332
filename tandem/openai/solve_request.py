"""The gateway's request that a body of any of the three APIs becomes, and what all three may ask by the same names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile
from typing import Annotated, Any, Unpack, cast

from pydantic import Field, StringConstraints

from tandem.client.contract import MOST_CALLS, MOST_MESSAGES, Count
from tandem.client.request import SolveOptions, solve_request
from tandem.method.conversation import Task
from tandem.method.tokens import EFFORTS
from tandem.openai.body import Strict
from tandem.openai.parameters import RefusedParameter
from tandem.v1 import tandem_pb2

Message = dict[str, Any]
"""A message as tandem.client.request takes it: `role`, `content`, `tool_calls`, `tool_call_id`."""
CALL_OF_A_RESULT = "a message of a tool has the tool_call_id that it is the result of, and no other has one"
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]


class TandemOptions(Strict):
    """What the vendors' APIs have no name for; each by its name in tandem.client.request.SolveOptions."""

    task: Task | None = None
    threshold: float | None = None
    thresholds: dict[Count, float] | None = None
    max_stage: Count | None = None
    max_cost_usd: float | None = None
    max_llm_tokens: Count | None = None
    checks: list[str] = Field(default_factory=list)
    keep_running: bool = False
    tenant: str = ""
    session: str = ""
    max_session_usd: float | None = None


def to_solve_request(
    request_id: str, model: str, messages: Sequence[Message], own: TandemOptions, /, **options: Unpack[SolveOptions]
) -> tandem_pb2.SolveRequest:
    """The gateway's request. `options`: what the protocol itself has a name for; `tools`, `tool_choice` and
    `allowed_tools` are always among them. Raises RefusedParameter.
    """
    profile, threshold = _profile(model, own.threshold)
    if not options["tools"] and (options["tool_choice"] not in ("auto", "none") or options["allowed_tools"]):
        raise RefusedParameter("tool_choice", "a call is required, and there are no tools", "invalid_value")
    options.update(cast(SolveOptions, {name: value for name, value in own if value is not None}))
    options.update(SolveOptions(request_id=request_id, profile=profile, threshold=threshold))
    return solve_request(messages, **options)


def known_effort(given: Any) -> str | None:
    """How much a model is to think, where the gateway knows the word."""
    return given if given in EFFORTS else None


def translated(messages: list[Message]) -> list[Message]:
    """A conversation that was written in another form than that of chat completions, and is held to the same bounds.
    Raises RefusedParameter.
    """
    require_bounds("messages", messages, least=1, most=MOST_MESSAGES)
    for index, message in enumerate(messages):
        place, calls = f"messages[{index}]", message.get("tool_calls", ())
        require_bounds(f"{place}.tool_calls", calls, most=MOST_CALLS)
        for number, call in enumerate(calls):
            if not call["id"]:
                raise _invalid(f"{place}.tool_calls[{number}].id", "String should have at least 1 character")
        if message["role"] == "tool" and not message["tool_call_id"]:
            raise _invalid(place, f"Value error, {CALL_OF_A_RESULT}")
    return with_one_system_message(messages)


def require_bounds(place: str, items: Sequence[Any], *, least: int = 0, most: int | None = None) -> None:
    """Raises RefusedParameter where there are too few or too many, in the words of a list that is validated."""
    if len(items) < least:
        raise _invalid(place, f"List should have at least {least} item after validation, not {len(items)}")
    if most is not None and len(items) > most:
        raise _invalid(place, f"List should have at most {most} items after validation, not {len(items)}")


def _invalid(place: str, why: str) -> RefusedParameter:
    return RefusedParameter(place, f"{place}: {why}", "invalid_value")


def with_one_system_message(messages: Sequence[Message]) -> list[Message]:
    """Agents say instructions and a system prompt in messages of their own, and more where the model is to correct
    itself. A chat template takes one at the beginning: the first ones are joined, and a later one is read as the
    user's.
    """
    rest = list(dropwhile(lambda message: message["role"] == "system", messages))
    system = [message["content"] for message in messages[: len(messages) - len(rest)]]
    rest = [{**message, "role": "user"} if message["role"] == "system" else message for message in rest]
    return [*([{"role": "system", "content": "\n\n".join(system)}] if system else []), *rest]


def _profile(model: str, threshold: float | None) -> tuple[str, float | None]:
    """Of `profile` or `profile@threshold`, beside the threshold of the body's own options."""
    named, is_given, said = model.partition("@")
    if not is_given:
        return model, threshold
    try:
        own = float(said)
    except ValueError:
        raise RefusedParameter("model", f"{said!r} is no threshold: 0 to 1", "invalid_value") from None
    if threshold not in (None, own):
        message = f"the model {model!r} names the threshold {own:g}, and tandem.threshold is {threshold:g}: give one"
        raise RefusedParameter("tandem.threshold", message, "invalid_value")
    return named, own
