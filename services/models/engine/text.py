"""From tokens to text, while they come, up to the string that ends it, or that may begin a call."""

from __future__ import annotations

from collections.abc import Sequence

from services.models.engine.api import Tokenizer
from services.models.engine.call_format import CallFormat

_INCOMPLETE = "�"


class Detokenizer:
    """The text of a growing list of tokens, in increments of whole characters.

    Each step decodes a window of tokens: a byte-level tokenizer's text of a token depends on the tokens just before it,
    and decoding from the start each time would be quadratic. `is_resumed`: the prompt ends with the text's own tokens,
    maybe within a character, which has not been shown.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int], *, is_resumed: bool = False) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids[-4:])
        shown = tokenizer.decode(self._ids)
        self._shown = shown.rstrip(_INCOMPLETE) if is_resumed else shown

    def push(self, token_id: int) -> str:
        """The text that `token_id` completes; empty while a character is incomplete."""
        self._ids.append(token_id)
        text = self._tokenizer.decode(self._ids)
        if text.endswith(_INCOMPLETE):
            return ""
        return self._advance(text)

    def flush(self) -> str:
        """The text that is still held back, with replacement characters for incomplete ones."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        new = text[len(self._shown) :]
        self._ids = self._ids[-4:]
        self._shown = self._tokenizer.decode(self._ids)
        return new


class StopStrings:
    """Lets text through up to the string that is complete first; of two that are complete at once, up to the longer
    one.

    Text that may be the beginning of one is held back until that is decided. What was let through never ends in such a
    beginning, so a text that goes on from it, by whichever model, needs to know nothing of it. `held` is what was held
    back of an earlier part of the text.
    """

    def __init__(self, strings: Sequence[str], held: str = "") -> None:
        self._strings, self.held, self.has_matched = tuple(strings), held, False

    def push(self, text: str) -> str:
        """What is decided of all text so far and was not let through yet. Nothing after a match."""
        if self.has_matched or not self._strings:
            return "" if self.has_matched else text
        known = self.held + text
        if match := self._first_match(known):
            self.held, self.has_matched = "", True
            return known[: match[1]]
        decided = len(known) - self._num_undecided(known)
        self.held = known[decided:]
        return known[:decided]

    def last(self, text: str = "", *, is_aborted: bool = False) -> str:
        """At the end of the text, which is `text`: what is left turned out to be no string's beginning. A text that was
        aborted has not ended, and another attempt may go on from it: nothing is decided.
        """
        if is_aborted and self._strings:
            return ""
        rest = self.push(text) + self.held
        self.held = ""
        return rest

    def _first_match(self, text: str) -> tuple[int, int] | None:
        """(end, start) of the match that ends first."""
        starts = ((text.find(string), len(string)) for string in self._strings)
        return min(((start + length, start) for start, length in starts if start >= 0), default=None)

    def _num_undecided(self, text: str) -> int:
        """The length of the longest end of `text` that is the beginning of a string."""
        longest = max(map(len, self._strings)) - 1
        ends = range(min(longest, len(text)), 0, -1)
        return next((n for n in ends if any(string.startswith(text[-n:]) for string in self._strings)), 0)


class SpokenText:
    """How much of a growing text is text for sure, and no call, nor the beginning of one."""

    def __init__(self, form: CallFormat, text: str = "") -> None:
        self._form, self._text = form, ""
        self._marks = StopStrings([form.mark] if form.mark else [])
        self._decided = 0
        self.push(text)

    def push(self, text: str) -> int:
        """Characters of all text so far. It never becomes less."""
        self._text += text
        self._decided += len(self._marks.push(text))
        return 0 if self._may_be_call else self._decided

    @property
    def _may_be_call(self) -> bool:
        """The whole of it, as it begins."""
        begun = self._text.lstrip()
        if not self._form.mark:
            return self._form.first.startswith(begun) or begun.startswith(self._form.first)
        return self._form.reads_bare and (not begun or begun[0] in "{[" or begun[:3] in ("`", "``", "```"))
