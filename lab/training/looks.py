"""How often a promise was looked at: each look at other questions spends a part of the chance to be wrong
(docs/method.md, A promise).

A promise of confidence 1 - a may be tried again with more questions, or others, or another policy: look k may be wrong
with a chance of a * 3/4 * (1/4)^(k - 1), and all looks together with a at most. The same look may be repeated: it has
the same bound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lab.training.promise import Promise, most_lost

FILE = "looks.jsonl"
_SPENT = 0.75
"""Of the error that is left, at each look."""

_SUREST = 1 - 1e-12


def at_look(promise: Promise, number: int) -> Promise:
    """With the confidence that look `number`, from 1, must have."""
    error = (1 - promise.confidence) * _SPENT * (1 - _SPENT) ** (number - 1)
    return replace(promise, confidence=min(1 - error, _SUREST))


def at_next_look(promise: Promise, number: int, n: int) -> Promise:
    """As `at_look`, of the look after one with `n` questions: the same number where these were too few to look."""
    return at_look(promise, number + _is_look(promise, number, n))


def _is_look(promise: Promise, number: int, n: int) -> bool:
    """Whether `n` questions could show the promise."""
    return most_lost(n, at_look(promise, number)) >= 0


@dataclass(frozen=True)
class Looks:
    """Those of one study, a line each in its folder."""

    folder: Path

    def number(
        self, about: str, questions: Iterable[str], policies: Iterable[str], promise: Promise | None = None
    ) -> int:
        """Which look it is at a promise `about` a kind of answers; a new one is written down, unless so few questions
        cannot show `promise` whatever comes of them.
        """
        asked = list(questions)
        of = _digest(asked, policies)
        before = self._before(about)
        number = _number(of, before)
        if number <= len(before) or (promise and not _is_look(promise, number, len(asked))):
            return number
        self.folder.mkdir(parents=True, exist_ok=True)
        look = {"about": about, "of": of, "questions": len(asked), "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
        with (self.folder / FILE).open("a") as file:
            file.write(json.dumps(look) + "\n")
        return number

    def would_be(self, about: str, questions: Iterable[str], policies: Iterable[str]) -> int:
        """As `number`, without looking."""
        return _number(_digest(questions, policies), self._before(about))

    def _before(self, about: str) -> list[str]:
        path = self.folder / FILE
        lines = path.read_text().splitlines() if path.exists() else []
        return [look["of"] for line in lines if (look := json.loads(line))["about"] == about]


def _number(of: str, before: Sequence[str]) -> int:
    return before.index(of) + 1 if of in before else len(before) + 1


def _digest(questions: Iterable[str], policies: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps([sorted(questions), list(policies)]).encode()).hexdigest()
