"""What learning and serving come to: requests and labels until the first arm is shown, the spend, and what is lost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random

from lab.promise.loop import Loop
from lab.promise.shares import Figures, mean_of, middle, share_of
from lab.promise.streams import SYNTHETIC, Stream, measured
from tandem.method.promise.rule import Terms

TERMS = Terms(0.03, kinds=4)
AT = (1000, 5000, 20_000)


@dataclass(frozen=True, slots=True)
class First:
    """The moment at which the first arm was shown."""

    requests: int
    sampled: int
    labels: int


@dataclass(frozen=True, slots=True)
class Run:
    """`spend` of the large model alone and share `lost`, up to each of `AT`; `labels` in all."""

    first: First | None
    spend: tuple[float, ...]
    lost: tuple[float, ...]
    labels: int
    closed: int


def spending(runs: int, seed: int, at: tuple[int, ...] = AT) -> dict[str, Figures]:
    """Of the kinds with given rates."""
    return {stream.name: summary(_runs(stream, runs, seed, at), at) for stream in SYNTHETIC}


def published(runs: int, seed: int, at: tuple[int, ...] = AT) -> dict[str, dict[str, Figures]]:
    """Of each published triple, by benchmark."""
    found: dict[str, dict[str, Figures]] = defaultdict(dict)
    for title, stream in measured():
        found[title][stream.name] = summary(_runs(stream, runs, seed, at), at)
    return dict(found)


def one_run(stream: Stream, random: Random, at: tuple[int, ...]) -> Run:
    loop, first = Loop(stream.num_arms, TERMS, random), None
    spend, lost = list[float](), list[float]()
    for request in stream.draw(at[-1], random):
        sampled = loop.counts.sampled
        loop.answer(request)
        if first is None and loop.counts.shown:
            first = First(loop.requests, sampled + 1, loop.labels)
        if loop.requests in at:
            spend.append(loop.spent / loop.alone)
            lost.append(loop.lost / loop.requests)
    return Run(first, tuple(spend), tuple(lost), loop.labels, loop.closed)


def summary(found: list[Run], at: tuple[int, ...]) -> Figures:
    firsts = [each.first for each in found if each.first]
    return {
        "shown": share_of([each.first is not None for each in found]),
        "requests_until_shown": middle([first.requests for first in firsts]),
        "sampled_until_shown": middle([first.sampled for first in firsts]),
        "labels_until_shown": middle([first.labels for first in firsts]),
        "labels": middle([each.labels for each in found]),
        "closed": mean_of([each.closed for each in found], 2),
        "spend": {str(n): mean_of([each.spend[place] for each in found]) for place, n in enumerate(at)},
        "lost": {str(n): mean_of([each.lost[place] for each in found], 5) for place, n in enumerate(at)},
        "more_lost_than_promised": share_of([each.lost[-1] > TERMS.lose_at_most for each in found]),
    }


def _runs(stream: Stream, runs: int, seed: int, at: tuple[int, ...]) -> list[Run]:
    return [one_run(stream, Random(f"{seed} {stream.name} {number}"), at) for number in range(runs)]
