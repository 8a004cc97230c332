"""Caches of keys and values by text: a later prompt that begins with the same tokens does not compute them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

KeysValues = Sequence[tuple[Any, ...]]
"""Of one text, in arrays: what `Rows.extract` returned (services.models.engine.loop.scheduler)."""


class _Sized(Protocol):
    def num_bytes(self) -> int: ...


V = TypeVar("V", bound=_Sized)


class LRUCache(Generic[V]):
    """The most recently put values within `max_bytes`. The newest one is never evicted, whatever its size."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        return self._values.get(key)

    def pop(self, key: Hashable) -> V | None:
        return self._values.pop(key, None)

    def put(self, key: Hashable, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > 1 and self.num_bytes() > self._max_bytes:
            self._values.popitem(last=False)

    def num_bytes(self) -> int:
        return sum(value.num_bytes() for value in self._values.values())

    def values(self) -> list[V]:
        return list(self._values.values())


@dataclass(frozen=True, slots=True)
class _Prefix:
    ids: tuple[int, ...]
    keys_values: KeysValues
    owner: str

    def num_bytes(self) -> int:
        return num_bytes(self.keys_values)


class PrefixCache:
    """Keys and values of prompts that were computed ahead of their generations, or of conversations that may go on, the
    most recently used within `max_bytes`. Each owner has its own.
    """

    def __init__(self, max_bytes: int) -> None:
        self._prefixes: LRUCache[_Prefix] = LRUCache(max_bytes)

    def put(self, ids: tuple[int, ...], keys_values: KeysValues, owner: str) -> None:
        """Replaces every entry that `ids` begins with."""
        for prefix in self._of(owner):
            if ids[: len(prefix.ids)] == prefix.ids:
                self._prefixes.pop((owner, prefix.ids))
        self._prefixes.put((owner, ids), _Prefix(ids, keys_values, owner))

    def longest(self, ids: Sequence[int], owner: str) -> tuple[int, KeysValues]:
        """The number of tokens that `ids` shares with the owner's best entry, and the entry's keys and values."""
        best, found = 0, None
        for prefix in self._of(owner):
            shared = common_prefix(prefix.ids, ids)
            if shared > best:
                best, found = shared, prefix
        if found is None:
            return 0, []
        self._prefixes.put((owner, found.ids), found)
        return best, found.keys_values

    def _of(self, owner: str) -> list[_Prefix]:
        return [prefix for prefix in self._prefixes.values() if prefix.owner == owner]


def num_bytes(keys_values: Iterable[Iterable[Any]]) -> int:
    return sum(part.nbytes for parts in keys_values for part in parts)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of ids that both begin with."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
