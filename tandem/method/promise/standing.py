"""Where a promise stands for one kind of requests, and what that decides: an arm is shown, serves, stops or closes."""

# No `from __future__ import annotations`: see tandem.method.request.request.
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from tandem.method.promise.alarms import ALARM, WANTS_LABELS, Block, Cusum, drift
from tandem.method.promise.rule import KindCounts, Terms, label_decides, serving, shown

REFINES = 1000
"""So many of the first requests that an arm is asked refine the share that it usually takes: sampled requests alone are
a few hundred, and their error would close the arm by itself.
"""
What = Literal["shown", "serves", "stops", "closed"]


@dataclass(frozen=True)
class Standing:
    """`epoch`: how often the kind has begun anew. `serving`: the number of the arm that answers; None: the large model
    does. As it began to serve it had taken the share `usual` of `usual_of` sampled requests; of the first `REFINES`
    that it was asked since, `served`, it `answered` so many. `blocks`: of sampled requests since.
    """

    counts: KindCounts
    epoch: int = 0
    serving: int | None = None
    usual: float = 0.0
    usual_of: int = 0
    served: int = 0
    answered: int = 0
    cusum: Cusum = field(default_factory=Cusum)
    blocks: tuple[Block, ...] = ()

    @property
    def usual_now(self) -> float:
        """The share of requests that the serving arm takes, 0..1."""
        seen = self.usual_of + self.served
        return (self.usual * self.usual_of + self.answered) / seen if seen else 0.0

    def share_of(self, arm: int) -> float:
        """The share of sampled requests that any arm takes, 0..1."""
        return self.counts.arms[arm].taken / self.counts.sampled if self.counts.sampled else 0.0


@dataclass(frozen=True)
class Decision:
    """`arm`: its number, None where none is left that answers. `why`: of a closing, in words."""

    what: What
    arm: int | None
    why: str = ""


def decide(standing: Standing, terms: Terms) -> Iterator[Decision]:
    """What follows from the counts, in the order in which it is to be done. A kind that is closed begins anew."""
    if standing.serving is not None and (why := _closes(standing, terms)):
        yield Decision("closed", standing.serving, why)
        return
    number = shown(standing.counts, terms)
    for arm in range(standing.counts.shown, number):
        yield Decision("shown", arm)
    best = serving(replace(standing.counts, shown=number), terms)
    if best != standing.serving:
        yield Decision("stops" if best is None else "serves", best)


def wants_labels(standing: Standing, terms: Terms) -> bool:
    """Whether labels of open disputes could decide something now: show the next arm, or keep the one that serves."""
    if label_decides(standing.counts, terms) is not None:
        return True
    is_open = any(block.open for block in standing.blocks)
    return is_open and drift(standing.blocks, terms.lose_at_most, open_is_lost=True) >= WANTS_LABELS


def _closes(standing: Standing, terms: Terms) -> str:
    if standing.cusum.closes:
        more = standing.cusum.above > standing.cusum.below
        return f"the cheap models agree {'more' if more else 'less'} often than they did"
    if drift(standing.blocks, terms.lose_at_most, open_is_lost=False) >= ALARM:
        return "labels say that more is lost than promised"
    if drift(standing.blocks, terms.lose_at_most, open_is_lost=True) >= ALARM:
        return "too many disputes have no label"
    return ""
