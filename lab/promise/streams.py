"""Requests that a simulation draws: of kinds with given rates, and of published triples (docs/pairs.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from lab.pairs.triple_models import BENCHMARKS
from lab.pairs.triples import Triple, triples

_ROWS = 10_000
_MEASURED = ("the same call", "school mathematics", "hard mathematics", "multiple choice")


@dataclass(frozen=True, slots=True)
class ArmAnswer:
    """What an arm makes of a request: whether it takes an answer, whether the large model says something else, whether
    that loses a right answer, and what the models that it asks cost.
    """

    taken: bool
    disputed: bool
    lost: bool
    asked: float


@dataclass(frozen=True, slots=True)
class Request:
    """`small`: what all small models together cost. Costs are of any one unit."""

    large: float
    small: float
    arms: tuple[ArmAnswer, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of all requests that an arm takes, that are disputed, and that are lost. `asked`: the cost of the models
    that it asks of every request, and `further` of those that it asks where it has taken none of the first ones'
    answers, in large answers; the first ones decide `early`.
    """

    taken: float
    disputed: float
    lost: float
    asked: float
    further: float = 0.0
    early: float = 1.0


@dataclass(frozen=True, slots=True)
class Stream:
    """A pool of requests from which a stream is drawn with replacement."""

    name: str
    pool: tuple[Request, ...]

    @property
    def num_arms(self) -> int:
        return len(self.pool[0].arms)

    def draw(self, number: int, random: Random) -> list[Request]:
        return random.choices(self.pool, k=number)


def stream_of(name: str, small: float, *arms: Rates) -> Stream:
    """Its pool has exactly these rates. Arms are nested: what a strict one takes each laxer one takes too, so that a
    label says the same of all.
    """
    places = [(number + 0.5) / _ROWS for number in range(_ROWS)]
    return Stream(name, tuple(Request(1.0, small, _answers(arms, place)) for place in places))


def _answers(arms: Sequence[Rates], place: float) -> tuple[ArmAnswer, ...]:
    """`place`, 0..1, of a request in the pool: those that the strictest arm takes are first, its losses before them."""
    before, disputed, lost = Rates(0.0, 0.0, 0.0, 0.0), False, False
    found = list[ArmAnswer]()
    for arm in arms:
        if before.taken <= place < arm.taken:
            disputed = place - before.taken < arm.disputed - before.disputed
            lost = place - before.taken < arm.lost - before.lost
        taken = place < arm.taken
        asked = arm.asked + (arm.further if place >= arm.early else 0.0)
        found.append(ArmAnswer(taken, taken and disputed, taken and lost, asked))
        before = arm
    return tuple(found)


SYNTHETIC = (
    stream_of("calls, two models", 0.10, Rates(0.67, 0.07, 0.010, 0.10)),
    stream_of(
        "calls, three models",
        0.20,
        Rates(0.52, 0.04, 0.005, 0.20),
        Rates(0.67, 0.07, 0.010, 0.10),
        Rates(0.85, 0.13, 0.021, 0.10, further=0.10, early=0.67),
    ),
    stream_of("answers, two models", 0.15, Rates(0.85, 0.02, 0.007, 0.15)),
    stream_of(
        "programs, one model",
        0.06,
        Rates(0.15, 0.010, 0.002, 0.06),
        Rates(0.28, 0.015, 0.004, 0.06),
        Rates(0.42, 0.025, 0.008, 0.06),
        Rates(0.47, 0.035, 0.015, 0.06),
    ),
    stream_of("hard answers, two models", 0.15, Rates(0.40, 0.09, 0.035, 0.15)),
)
"""Rates as in published data where there are some (docs/pairs.md); those of the strictest and the laxest arms, and of
programs, are assumed.
"""


def measured() -> Iterator[tuple[str, Stream]]:
    """By benchmark, the pool of each triple: its tasks."""
    for benchmark in BENCHMARKS:
        if any(name in benchmark.title for name in _MEASURED) and benchmark.column == "answer":
            for triple in triples(benchmark):
                yield benchmark.title, of_triple(triple)


def of_triple(triple: Triple) -> Stream:
    """Both small models are asked of every task; costs are relative to the mean of the large one's."""
    lost = triple.same & ~triple.first_right & triple.large_right
    mean = float(triple.costs[2].mean())
    asked, large = ((triple.costs[0] + triple.costs[1]) / mean).tolist(), (triple.costs[2] / mean).tolist()
    flags = zip(triple.same.tolist(), triple.disputed.tolist(), lost.tolist(), strict=True)
    pool = [
        Request(alone, small, (ArmAnswer(*each, small),))
        for each, small, alone in zip(flags, asked, large, strict=True)
    ]
    return Stream(f"{triple.first.name}, {triple.second.name} with {triple.large.name}", tuple(pool))
