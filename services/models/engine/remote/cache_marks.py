"""Where Anthropic's API is to cache a prompt, in a body that says it nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]
_MARK = {"cache_control": {"type": "ephemeral"}}
_MARKED_TURNS = 2
"""With tools and system four marks, which is the API's limit."""
_MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result"})


def with_marks(body: Body) -> Body:
    """A mark at the end of the tools, of the system prompt, and of the user's last two turns: the next request of the
    conversation reads what this one has written. None where a caller has set any, and none in one turn without tools:
    writing costs more than reading, and nobody may read it again.
    """
    messages = body["messages"]
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if any("cache_control" in part for part in _parts(body)) or not (body.get("tools") or len(users) > 1):
        return body
    last = set(users[-_MARKED_TURNS:])
    marked = {"messages": [_turn(message) if index in last else message for index, message in enumerate(messages)]}
    if system := body.get("system"):
        marked["system"] = _ending(system)
    if (tools := body.get("tools")) and not tools[-1].get("defer_loading"):
        marked["tools"] = [*tools[:-1], tools[-1] | _MARK]
    return body | marked


def _turn(message: Body) -> Body:
    return message | {"content": _ending(message["content"])}


def _ending(content: Any) -> Any:
    """Text, or blocks, with a mark on the last one, where it can have one."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    last = blocks[-1] if blocks else {}
    can_have = last.get("type") in _MARKABLE and last.get("text", "more").strip()
    return [*blocks[:-1], last | _MARK] if can_have else content


def _parts(body: Body) -> Iterator[Body]:
    """All that can have a mark."""
    yield body
    for part in (*body.get("tools", ()), body.get("system"), *(message["content"] for message in body["messages"])):
        for block in part if isinstance(part, list) else [part]:
            if isinstance(block, dict):
                yield block
                inner = block.get("content")
                yield from (each for each in inner if isinstance(each, dict)) if isinstance(inner, list) else ()
