"""What is asked: a question with what was said before it, and the kind of answer that is wanted."""

# No `from __future__ import annotations`: see tandem.method.request.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.method.errors import InvalidArgument

Task = Literal["answer", "code", "chat"]
"""`answer`: a question with a final answer; `code`: a function to be completed; `chat`: free text, no instruction is added."""
TASKS: tuple[Task, ...] = ("answer", "code", "chat")
Kind = Literal["answer", "code", "chat", "json"]
"""What evidence of sufficiency there is differs by task, and again where an answer is held to a JSON schema (`json`)."""
Speaker = Literal["system", "user", "assistant"]
TOKENS_PER_MESSAGE = 8
"""What a chat template adds to a message, at most."""


@dataclass(frozen=True)
class Message:
    speaker: Speaker
    text: str


def kind_of(task: Task, json_schema: str) -> Kind:
    return "json" if json_schema else task


def split_conversation(messages: Sequence[Message]) -> tuple[list[Message], str]:
    """What was said before, and the question: the user's message that is to be answered.

    Raises InvalidArgument (field "messages") for a conversation that ends otherwise, and for a system message in the middle.
    """
    *history, last = messages
    if last.speaker != "user":
        raise InvalidArgument(
            f"the last message is the {last.speaker}'s; a conversation ends with the user's", field="messages"
        )
    for number, message in enumerate(history, 1):
        if message.speaker == "system" and number > 1:
            raise InvalidArgument(
                f"message {number} is the system's; only the first one can be: join them", field="messages"
            )
    return history, last.text
