"""Texts that end a generation: what comes before the first of them is let through, however the text is cut into tokens."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the string that is complete first; of two that are complete at once, up to the longer one.

    Text that may be the beginning of one is held back until that is decided. What was let through never ends in such a
    beginning, so a text that goes on from it, by whichever model, needs to know nothing of it. `held` is what was held back
    of an earlier part of the text.
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
        """At the end of the text, which is `text`: what is left turned out to be no string's beginning. A text that was aborted has
        not ended, and another attempt may go on from it: nothing is decided.
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
