"""What the request log has of a text that earlier attempts began, and where its stop strings stand."""

from __future__ import annotations

from services.engine.api import Tokenizer
from services.engine.detokenizer import Detokenizer
from services.engine.stop_strings import StopStrings
from services.request_log.transcript import Transcript


class EarlierText:
    """The text of the logged tokens may be more than the logged text: the rest is `held` back as the possible beginning of a stop
    string. `prompt_ids` are what the text goes on from.
    """

    def __init__(
        self, logged: Transcript, tokenizer: Tokenizer, prompt_ids: tuple[int, ...], stop_strings: tuple[str, ...]
    ) -> None:
        self._logged, self.ids, self.text = logged, logged.ids, logged.text
        self._stops, self._decided = StopStrings(stop_strings), ""
        if stop_strings:
            detokenizer = Detokenizer(tokenizer, prompt_ids)
            self._decided = "".join(self._stops.push(detokenizer.push(token)) for token in self.ids)

    @property
    def held(self) -> str:
        return self._stops.held

    @property
    def whole(self) -> str:
        """All of it, where nothing follows."""
        is_in_log = self._logged.is_complete or not self._decided + self.held
        return self.text if is_in_log else self._decided + self.held

    def reason_of_end(self, max_tokens: int) -> str:
        """How an earlier attempt ended it without living to report that; empty: it goes on."""
        if self._logged.is_complete or self._logged.tokens >= max_tokens:
            return self._logged.end.reason if self._logged.end else "length"
        return "eos" if self._stops.has_matched else ""
