"""A change while an arm serves: whether, when and at what loss it is closed, with and without the free alarm."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lab.promise.loop import Loop
from lab.promise.shares import Figures, middle, share_of
from lab.promise.streams import Rates, Stream, stream_of
from tandem.method.promise.rule import Terms

TERMS = Terms(0.03, kinds=4)
AFTER = 20_000
_SERVED_BEFORE = 2000
_MOST_BEFORE = 20_000
_BEFORE = stream_of("0.9 % lost", 0.1, Rates(0.67, 0.07, 0.009, 0.1))
_CHANGES = {
    "none": _BEFORE,
    "4.2 % lost, agreement 67 -> 47 %": stream_of("less agreement", 0.1, Rates(0.47, 0.10, 0.042, 0.1)),
    "4.2 % lost, agreement 67 -> 87 %": stream_of("more agreement", 0.1, Rates(0.87, 0.10, 0.042, 0.1)),
    "4.2 % lost, agreement as before": stream_of("as much agreement", 0.1, Rates(0.67, 0.10, 0.042, 0.1)),
    "15 % lost, agreement as before": stream_of("as much agreement", 0.1, Rates(0.67, 0.20, 0.15, 0.1)),
}


@dataclass(frozen=True, slots=True)
class Change:
    """`closed_after` so many requests of those after the change (None: not in `AFTER`), of which so many were lost."""

    closed_after: int | None
    lost: int
    labels: int


def drifts(runs: int, seed: int, after: int = AFTER) -> dict[str, dict[str, Figures]]:
    """By the change, and by whether the free alarm is there."""
    return {
        name: {
            "with the free alarm": _summary(name, stream, runs, seed, after, has_free_alarm=True),
            "by labels alone": _summary(name, stream, runs, seed, after, has_free_alarm=False),
        }
        for name, stream in _CHANGES.items()
    }


def one_change(stream: Stream, random: Random, after: int, *, has_free_alarm: bool) -> Change | None:
    """None where the arm did not serve, or was closed, before the change."""
    loop = Loop(1, TERMS, random, has_free_alarm=has_free_alarm)
    served = 0
    for request in _BEFORE.draw(_MOST_BEFORE, random):
        loop.answer(request)
        served += loop.serving is not None
        if served == _SERVED_BEFORE or loop.closed:
            break
    if loop.serving is None or loop.closed:
        return None
    lost, labels = loop.lost, loop.labels
    for number, request in enumerate(stream.draw(after, random), 1):
        loop.answer(request)
        if loop.closed:
            return Change(number, loop.lost - lost, loop.labels - labels)
    return Change(None, loop.lost - lost, loop.labels - labels)


def _summary(name: str, stream: Stream, runs: int, seed: int, after: int, *, has_free_alarm: bool) -> Figures:
    tried = [
        one_change(stream, Random(f"{seed} {name} {number}"), after, has_free_alarm=has_free_alarm)
        for number in range(runs)
    ]
    found = [each for each in tried if each]
    if not found:
        return {"runs": 0}
    return {
        "closed": share_of([each.closed_after is not None for each in found]),
        "closed_after": middle([each.closed_after for each in found if each.closed_after is not None]),
        "lost": middle([each.lost for each in found]),
        "labels": middle([each.labels for each in found]),
        "closed_before": share_of([each is None for each in tried]),
    }
