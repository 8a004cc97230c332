"""One kind of requests, from the first to the last: what is sampled, shown, served, labelled and closed.

The product's functions decide; this file keeps the counts that services/shared/request_log/learned.py keeps in Redis.
Labels come at once, and only where they are requested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from lab.promise.streams import Request
from tandem.method.promise.alarms import BLOCK, WANTS_LABELS, Block, Cusum, drift
from tandem.method.promise.rule import (
    ArmCounts,
    KindCounts,
    Terms,
    label_decides,
    learns_with,
    shown,
    watches_with,
)
from tandem.method.promise.standing import REFINES, Standing, decide

Labeller = Callable[[bool], bool]
"""What a label says of a dispute that is lost, or is not."""


@dataclass(frozen=True, slots=True, eq=False)
class _Dispute:
    """An open one; `block`: the number of the watched block that it is in, -1: none."""

    request: Request
    block: int


class Loop:
    """Answers requests of one kind under a promise.

    `spent` is what was paid, `alone` what the large model alone would have cost, `lost` the requests whose served
    answer is wrong where the large model's is right. `labels` and `closed` are counts.
    """

    def __init__(
        self,
        num_arms: int,
        terms: Terms,
        random: Random,
        *,
        has_free_alarm: bool = True,
        labeller: Labeller = bool,
    ) -> None:
        self.requests = self.labels = self.closed = self.lost = 0
        self.spent = self.alone = 0.0
        self.counts = KindCounts(tuple(ArmCounts() for _ in range(num_arms)))
        self.serving: int | None = None
        self._terms, self._random = terms, random
        self._has_free_alarm, self._labeller = has_free_alarm, labeller
        self._disputes: list[_Dispute] = []
        self._blocks: list[Block] = []
        self._cusum, self._usual, self._chance = Cusum(), 0.0, 1.0
        self._serving_since = self._served = self._answered = 0

    def answer(self, request: Request) -> None:
        """The coin is tossed before the request is answered; what it decides cannot depend on the answer."""
        arm = self.serving
        is_sampled = self._random.random() < self._chance
        is_taken = arm is not None and request.arms[arm].taken
        self.requests += 1
        self.alone += request.large
        by_arm = request.large if arm is None else request.arms[arm].asked + (0.0 if is_taken else request.large)
        beside = request.small + request.large - by_arm if is_sampled else 0.0
        self.spent += by_arm + beside
        if arm is not None:
            self.lost += request.arms[arm].lost
        if is_sampled:
            self._learn(request, beside)
        # A closed arm has no request to count, and another arm begins with the next one.
        if arm is not None and arm == self.serving and self._has_free_alarm:
            self._cusum = self._cusum.after(is_taken, self._standing.usual_now)
            if self._served < REFINES:
                self._served, self._answered = self._served + 1, self._answered + is_taken
            if self._cusum.closes:
                self._apply(self._standing)

    def _learn(self, request: Request, beside: float) -> None:
        arms = zip(self.counts.arms, request.arms, strict=True)
        self.counts = replace(
            self.counts,
            arms=tuple(
                ArmCounts(
                    count.taken + seen.taken,
                    count.open + seen.disputed,
                    count.lost,
                    count.saved + (request.large if seen.taken else 0.0) - seen.asked,
                )
                for count, seen in arms
            ),
            sampled=self.counts.sampled + 1,
            large=self.counts.large + request.large,
            beside=self.counts.beside + beside,
        )
        self._watch(request)
        self._decide()

    def _watch(self, request: Request) -> None:
        """Add the request to the blocks of the arm that serves, and keep its dispute for a label."""
        block = -1
        if self.serving is not None:
            if not self._blocks or self._blocks[-1].sampled == BLOCK:
                self._blocks.append(Block())
            is_disputed = request.arms[self.serving].disputed
            last = self._blocks[-1]
            self._blocks[-1] = replace(last, sampled=last.sampled + 1, open=last.open + is_disputed)
            block = len(self._blocks) - 1 if is_disputed else -1
        if any(arm.disputed for arm in request.arms):
            self._disputes.append(_Dispute(request, block))

    def _decide(self) -> None:
        """All labels that could decide something come first, so that what is decided is by the product's rule."""
        self._label_what_decides()
        self._label_what_drifts()
        self._apply(self._standing)

    def _apply(self, standing: Standing) -> None:
        for decision in decide(standing, self._terms):
            if decision.what == "closed":
                self._close()
            elif decision.what != "shown":
                self._begin_serving(decision.arm)
        self._chance = self._next_chance()

    @property
    def _standing(self) -> Standing:
        arm, sampled = self.serving, self._serving_since
        usual = 0.0 if arm is None else self._usual
        cusum, blocks = self._cusum, tuple(self._blocks)
        return Standing(self.counts, 0, arm, usual, sampled, self._served, self._answered, cusum, blocks)

    def _label_what_decides(self) -> None:
        """Ask for labels one by one, while another could show the next arm."""
        self.counts = replace(self.counts, shown=shown(self.counts, self._terms))
        while (arm := label_decides(self.counts, self._terms)) is not None:
            number = arm
            self._label(next(each for each in self._disputes if each.request.arms[number].disputed))
            self.counts = replace(self.counts, shown=shown(self.counts, self._terms))

    def _label_what_drifts(self) -> None:
        """Ask for labels of what is watched, while too much would be lost if each open dispute were."""
        promised = self._terms.lose_at_most
        while drift(self._blocks, promised, open_is_lost=True) >= WANTS_LABELS:
            watched = next((each for each in self._disputes if each.block >= 0), None)
            if watched is None:
                break
            self._label(watched)

    def _label(self, dispute: _Dispute) -> None:
        """One label is of all arms that the dispute is of: they take the same answer."""
        self._disputes.remove(dispute)
        self.labels += 1
        seen = dispute.request.arms
        is_lost = self._labeller(any(each.lost for each in seen))
        self.counts = replace(
            self.counts,
            arms=tuple(
                replace(count, open=count.open - each.disputed, lost=count.lost + (each.disputed and is_lost))
                for count, each in zip(self.counts.arms, seen, strict=True)
            ),
        )
        if dispute.block >= 0:
            block = self._blocks[dispute.block]
            self._blocks[dispute.block] = replace(block, open=block.open - 1, lost=block.lost + is_lost)

    def _close(self) -> None:
        self.closed += 1
        self.counts = KindCounts(tuple(ArmCounts() for _ in self.counts.arms), offs=self.counts.offs + 1)
        self._disputes = []
        self._begin_serving(None)

    def _begin_serving(self, arm: int | None) -> None:
        self.serving = arm
        self._blocks, self._cusum = [], Cusum()
        self._usual = 0.0 if arm is None else self._standing.share_of(arm)
        self._serving_since, self._served, self._answered = self.counts.sampled, 0, 0
        self._disputes = [replace(each, block=-1) for each in self._disputes]
        self._chance = self._next_chance()

    def _next_chance(self) -> float:
        if self.serving is None:
            return learns_with(self.counts, self._terms)
        return watches_with(self.counts, self._terms, self.serving)


def run(loop: Loop, requests: Sequence[Request]) -> Loop:
    for request in requests:
        loop.answer(request)
    return loop
