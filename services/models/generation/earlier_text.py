"""What the request log has of a text that earlier attempts began."""

from __future__ import annotations

from collections.abc import Iterable

from services.models.engine.text import StopStrings
from services.models.engine.writer import Earlier
from services.shared.request_log.transcript import Transcript


class EarlierText:
    """The text of the logged tokens (`texts`) may be more than the logged text: the rest may begin a stop string."""

    def __init__(self, logged: Transcript, texts: Iterable[str], stop_strings: tuple[str, ...]) -> None:
        self._logged, self._stops = logged, StopStrings(stop_strings)
        self._decided = "".join(map(self._stops.push, texts))
        self.written = Earlier(logged.text, logged.ids, self._stops.held)

    @property
    def whole(self) -> str:
        """All of it, where nothing follows."""
        decided = self._decided + self._stops.held
        return self.written.text if self._logged.is_complete or not decided else decided

    def reason_of_end(self, max_tokens: int) -> str:
        """How an earlier attempt ended it without living to report that; empty: it goes on."""
        if self._logged.is_complete or self._logged.tokens >= max_tokens:
            return self._logged.end.reason if self._logged.end else "length"
        return "eos" if self._stops.has_matched else ""
