"""Chat messages as token ids, for an API that takes messages and returns text. An id encodes a few characters as a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from services.models.engine.api import PromptRefused
from services.models.engine.call_format import CallFormat, Turn
from tandem.method.request.prompt_data import in_json

# Private-use characters. They are replaced in plain text, so a question cannot end its message, and a model's text is no call.
_ROLE, _CONTENT, _MORE, _CALL, _ARGUMENTS = "\ue000\ue001\ue002\ue003\ue004"
_MARKS = [_ROLE, _CONTENT, _MORE, _CALL, _ARGUMENTS]
_NO_MARKS = str.maketrans(dict.fromkeys(_MARKS, "�"))
_ESCAPED = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in _MARKS})
_NO_TOOLS = "the model's API calls no tools (`tandem profile check` asks it), so this model cannot be given any"
_TOOLS = "tools"
_CALLS = CallFormat(_CALL, _ARGUMENTS, _CALL, "", reads_bare=False)
_CHARACTERS_PER_ID = 4  # about a token of English


class MessageCodec:
    """A Tokenizer that loses no text. The number of ids is an estimate of the number of tokens. `can_call`: the API takes tools."""

    def __init__(self, *, can_call: bool = False) -> None:
        self._can_call = can_call

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        clean = without_marks(text) if plain else text
        step = _CHARACTERS_PER_ID
        return [self.number(clean[i : i + step]) for i in range(0, len(clean), step)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(_text(i) for i in ids)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(b"tandem messages 1").hexdigest()

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        """The tools stand in it to be counted: `GenerationRequest.tools` has them for the API."""
        said = [_turn(message) for message in messages]
        if not self._can_call and (tools or any(more for _, _, more in said)):
            raise PromptRefused(_NO_TOOLS)
        offered: list[tuple[str, str, dict[str, Any]]] = [(_TOOLS, _json(tools), {})] if tools else []
        turns = (
            f"{_ROLE}{role}{_CONTENT}{text}{_MORE}{_json(more)}" if more else f"{_ROLE}{role}{_CONTENT}{text}"
            for role, text, more in [*offered, *said]
        )
        return f"{''.join(turns)}{_ROLE}assistant{_CONTENT}"

    @property
    def calls(self) -> CallFormat:
        """As `written_calls` writes them; no model does."""
        if not self._can_call:
            raise PromptRefused(_NO_TOOLS)
        return _CALLS

    def number(self, text: str) -> int:
        """The id of a text of any length."""
        return int.from_bytes(b"\x01" + text.encode())

    def messages(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """Each turn of a rendered prompt: `role`, `content`, and `tool_calls` (with arguments as values) or `tool_call_id` where it has
        them. The assistant's last turn is left out where it is empty.
        """
        turns = [_read(part) for part in self.decode(ids).split(_ROLE)[1:]]
        return [
            turn
            for turn in turns
            if turn["role"] != _TOOLS and (turn["role"] != "assistant" or len(turn) > 2 or turn["content"])
        ]


def without_marks(text: str) -> str:
    return text.translate(_NO_MARKS)


def written_calls(calls: Iterable[tuple[str, str]]) -> str:
    """Names and arguments, as texts of JSON, in the form of `MessageCodec.calls`."""
    return "".join(
        f"{_CALL}{without_marks(name)}{_ARGUMENTS}{arguments.translate(_ESCAPED)}" for name, arguments in calls
    )


def _turn(message: tuple[str, str] | Turn) -> tuple[str, str, dict[str, Any]]:
    if isinstance(message, tuple):
        return *message, {}
    return (
        message["role"],
        message["content"],
        {name: message[name] for name in ("tool_calls", "tool_call_id") if name in message},
    )


def _read(part: str) -> dict[str, Any]:
    role, _, rest = part.partition(_CONTENT)
    content, _, more = rest.partition(_MORE)
    return {"role": role, "content": content, **(json.loads(more) if more else {})}


def _json(value: Any) -> str:
    return in_json(json.dumps(value, ensure_ascii=False))


def _text(number: int) -> str:
    return number.to_bytes((number.bit_length() + 7) // 8)[1:].decode()
