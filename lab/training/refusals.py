"""What models refuse while their answers are collected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from operator import attrgetter
from typing import Any, TypeVar

from lab.training.errors import StoreError
from services.models.engine.api import (
    ApiRefused,
    EngineError,
    InvalidSchema,
    PromptRefused,
    PromptTooLong,
    SchemaNotSupported,
)

A = TypeVar("A")
B = TypeVar("B")
OF_ONE_REQUEST = (ApiRefused, PromptRefused, PromptTooLong, InvalidSchema, SchemaNotSupported)
"""Errors that concern one request: the next one may be answered."""
_MOST_AT_THE_HEAD = 20
"""An API that refuses so many before it answers one has no use for the rest: a key is wrong, or means are lacking."""


class Refusals:
    """Requests that a model refuses: each is left out, wherever it stands. `answered` counts the others, those of
    earlier runs included. The same command asks for what is left out again.
    """

    def __init__(self, answered: int) -> None:
        self.left_out: dict[str, str] = {}
        """By id, with the reason."""
        self._answered, self._at_the_head = answered, 0

    def leaving_out(
        self, work: Callable[[A], Awaitable[B]], id_of: Callable[[A], str] = attrgetter("id")
    ) -> Callable[[A], Coroutine[Any, Any, B | None]]:
        """As `work`, whose result is None where an item is left out. Raises StoreError where an API refuses all."""

        async def result_of(item: A) -> B | None:
            try:
                found = await work(item)
            except OF_ONE_REQUEST as error:
                self._leave_out(id_of(item), error)
                return None
            self._answered += 1
            return found

        return result_of

    def _leave_out(self, request: str, error: EngineError) -> None:
        self.left_out[request] = str(error)
        self._at_the_head += isinstance(error, ApiRefused)
        if not self._answered and self._at_the_head >= _MOST_AT_THE_HEAD:
            raise StoreError(f"the first {self._at_the_head} requests are refused: {error}") from error

    def end(self) -> None:
        """Raises StoreError where nothing was answered."""
        if self.left_out and not self._answered:
            *_, reason = self.left_out.values()
            raise StoreError(f"no request was answered, {len(self.left_out)} are refused: {reason}")
