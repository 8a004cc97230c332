"""A vendor that caches prompts by Anthropic's marks and says what it counted; what it is asked stays as it came."""

from __future__ import annotations

import json
from typing import Any

from tests.recorded_api import Answer, Events, anthropic_events

_BLOCKS = 20  # before a mark, that the API looks back for what it knows


class CachingApi:
    """A token is four characters. `asked` are the bodies, `usage` what each was told."""

    def __init__(self, events: Events | None = None) -> None:
        self._events, self._known = events, set[str]()
        self.usage: list[dict[str, int]] = []

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({"id": "m", "type": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"})
        prompt, cached, written = self._count(body)
        self.usage.append({"prompt": prompt, "cached": cached, "written": written})
        if self._events:
            return Answer(events=self._events)
        return Answer(events=anthropic_events(["Done."], prompt, 3, cached=cached, written=written))

    def share(self) -> float:
        """Of all that was read, what came from the cache."""
        read = sum(sum(each.values()) for each in self.usage)
        return sum(each["cached"] for each in self.usage) / read

    def _count(self, body: dict[str, Any]) -> tuple[int, int, int]:
        parts = prompt_of(body)
        ends = [len(parts[: index + 1]) for index, part in enumerate(parts) if "cache_control" in part]
        texts = [json.dumps({k: v for k, v in part.items() if k != "cache_control"}) for part in parts]
        prefixes = ["\n".join(texts[:end]) for end in range(len(texts) + 1)]
        looked = {back for end in ends for back in range(max(1, end - _BLOCKS), end + 1)}
        found = max((end for end in looked if prefixes[end] in self._known), default=0)
        last = max(ends, default=0)
        self._known |= {prefixes[end] for end in ends}
        cached, written = len(prefixes[found]) // 4, (len(prefixes[last]) - len(prefixes[found])) // 4
        return (len(prefixes[-1]) - len(prefixes[max(found, last)])) // 4, cached, max(0, written)


def prompt_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a model reads, block by block, in the API's order: tools, system, messages."""
    said = [("system", body.get("system", ""))] + [(turn["role"], turn["content"]) for turn in body["messages"]]
    blocks = [
        {"role": role, **block}
        for role, content in said
        for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
    return [*body.get("tools", []), *blocks]
