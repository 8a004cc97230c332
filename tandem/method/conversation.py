"""What is asked: a question with what was said before it, and the kind of answer that is wanted."""

# No `from __future__ import annotations`: see tandem.method.request.request.
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tandem.method.errors import InvalidArgument
from tandem.method.tools import ToolCall

Task = Literal["answer", "code", "chat"]
"""`answer`: a question with a final answer; `code`: a function to be completed; `chat`: free text, no instruction is
added.
"""
TASKS: tuple[Task, ...] = ("answer", "code", "chat")
Kind = Literal["answer", "code", "chat", "json", "tools", "option"]
"""What evidence of sufficiency there is differs by task, and again where an answer is held to a JSON schema (`json`),
may call tools (`tools`) or is one of the options that the question lists (`option`).
"""
AgreedKind = Literal["answer", "json", "tools", "option"]
AGREED: tuple[AgreedKind, ...] = get_args(AgreedKind)
"""Kinds that `[agreement]` can take: texts alone tell whether two of them are the same."""
Speaker = Literal["system", "user", "assistant", "tool"]
TOKENS_PER_MESSAGE = 8
"""What a chat template adds to a message, at most."""


@dataclass(frozen=True)
class Message:
    """`calls` are what the assistant called, beside its text; a tool's `text` is the result of the call `call_id`."""

    speaker: Speaker
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""

    @property
    def whole(self) -> str:
        """All that is said in it, to be counted."""
        return self.text + "".join(call.name + call.arguments for call in self.calls)


_OPTION = re.compile(r"^[ \t]*([a-j])[.:)]\s|(?:^|\s)\(([a-j])\)\s", re.IGNORECASE | re.MULTILINE)


def kind_of(task: Task, json_schema: str, *, may_call: bool = False, question: str = "") -> Kind:
    """`question` tells an option from other final answers; without it none is one."""
    if may_call or json_schema:
        return "tools" if may_call else "json"
    return "option" if task == "answer" and _lists_options(question) else task


def _lists_options(question: str) -> bool:
    """As "A) Paris", "B. Rome" or "(c) Bonn": the first two, one after the other."""
    return "AB" in "".join(one or other for one, other in _OPTION.findall(question)).upper()


def split_conversation(messages: Sequence[Message]) -> tuple[list[Message], str]:
    """What was said before, and the question: the user's message that is to be answered. Where a tool's result is to be
    answered all was said before, and the question is empty.

    Raises InvalidArgument (field "messages") for a conversation that ends otherwise, for a system message in the
    middle, and for calls and results that do not match.
    """
    *history, last = messages
    if last.speaker not in ("user", "tool"):
        raise InvalidArgument(
            f"the last message is the {last.speaker}'s; a conversation ends with the user's or a tool's",
            field="messages",
        )
    for number, message in enumerate(history, 1):
        if message.speaker == "system" and number > 1:
            raise InvalidArgument(
                f"message {number} is the system's; only the first one can be: join them", field="messages"
            )
    _check_calls(messages)
    return (list(messages), "") if last.speaker == "tool" else (history, last.text)


def _check_calls(messages: Sequence[Message]) -> None:
    """Each call has one result, before anybody else speaks. Raises InvalidArgument."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages, 1):
        if message.speaker == "tool":
            if message.call_id not in open_calls:
                raise InvalidArgument(
                    f"message {number} is the result of {message.call_id!r}, which nobody called before it",
                    field="messages",
                )
            open_calls.remove(message.call_id)
            continue
        if open_calls:
            raise InvalidArgument(
                f"message {number} comes before the result of the call {min(open_calls)!r}", field="messages"
            )
        if message.calls and message.speaker != "assistant":
            raise InvalidArgument(f"message {number} is the {message.speaker}'s, who calls no tools", field="messages")
        open_calls = {call.id for call in message.calls}
        if len(open_calls) < len(message.calls):
            raise InvalidArgument(f"message {number} has calls of the same id", field="messages")
        for call in message.calls:
            call.values()
    if open_calls:
        raise InvalidArgument(f"the call {min(open_calls)!r} has no result", field="messages")
