"""`tandem calibrate --lose-at-most` by the agreement of small models: what is lost is bounded by the disputes
(docs/method.md, A promise).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.disputes.asked import Compared
from lab.disputes.labels import Label
from lab.training.looks import Looks, at_look
from lab.training.promise import Promise, most_lost, questions_needed, upper_bound
from tandem.method.profile.prices import Prices, total

CALL, CALL_OR_NONE, SAME = "the same call", "the same call, or none by both", "the same answer"
Takes = Callable[[Compared], bool]


@dataclass(frozen=True)
class Counted:
    """What a rule takes of the n requests. `disputes`: taken, and the large model says otherwise; of these `labelled`
    have a label, and by that `lost` are lost. A dispute without a label counts as lost.
    """

    n: int
    taken: int
    disputes: int
    labelled: int = 0
    lost: int = 0

    @property
    def lost_at_most(self) -> int:
        return self.lost + self.disputes - self.labelled

    def bound(self, promise: Promise) -> float:
        """Of the share that is lost, exact, with the promise's confidence."""
        return upper_bound(self.lost_at_most, self.n, promise.confidence)

    def is_kept(self, promise: Promise) -> bool:
        return promise.is_kept(self.lost_at_most, self.n)


@dataclass(frozen=True)
class Tested:
    """`cost`: USD of all models relative to the large one alone; None: a price or a count of tokens is not
    known.
    """

    evidence: str
    counted: Counted
    bound: float
    is_accepted: bool
    cost: float | None


@dataclass(frozen=True)
class Shown:
    """`about`: kind of answers, and tenant. `look`: the bounds have its `confidence`, so that the promise has its own
    over all looks.

    `labels_needed`: so many disputes must still be found not to be lost; `requests_needed`: for the next look, if none
    of the disputes is lost and none can be shown on these. Both None where a rule is accepted; both of the strictest
    rule.
    """

    about: str
    promise: Promise
    look: int
    confidence: float
    tested: list[Tested]
    labels_needed: int | None
    requests_needed: int | None

    @property
    def chosen(self) -> Tested | None:
        """The last one accepted, which takes most."""
        return next((each for each in reversed(self.tested) if each.is_accepted), None)


def show(
    compared: Sequence[Compared], labels: Mapping[str, Label], prices: Prices, promise: Promise, looks: Looks
) -> list[Shown]:
    """One of each kind of answers that agreement is evidence for; where lines name tenants, one of each tenant as
    well.
    """
    groups: dict[str, list[Compared]] = {}
    for each in compared:
        if each.asked.kind.is_evidence:
            form = each.asked.kind.form
            for about in (form, f"{form} of {each.asked.tenant}") if each.asked.tenant else (form,):
                groups.setdefault(about, []).append(each)
    return [_shown(about, found, labels, prices, promise, looks) for about, found in groups.items()]


def _shown(
    about: str, found: Sequence[Compared], labels: Mapping[str, Label], prices: Prices, promise: Promise, looks: Looks
) -> Shown:
    rules = rules_for(found[0].asked.kind.form)
    number = looks.number(about, (each.asked.same_request for each in found), rules)
    now, tested = at_look(promise, number), list[Tested]()
    for evidence, takes in rules.items():
        counted = count(found, takes, labels)
        cost = _cost(found, takes, prices)
        tested.append(Tested(evidence, counted, counted.bound(now), counted.is_kept(now), cost))
        if not tested[-1].is_accepted:
            break
    strictest = tested[0]
    labels_needed = requests = None
    if not strictest.is_accepted:
        allowed, counted = most_lost(counted.n, now), strictest.counted
        open_disputes = counted.disputes - counted.labelled
        labels_needed = counted.lost_at_most - allowed if counted.lost <= allowed and open_disputes else None
        if labels_needed is None:
            requests = questions_needed(at_look(promise, number + 1), counted.lost / counted.n)
    return Shown(about, promise, number, now.confidence, tested, labels_needed, requests)


def rules_for(form: str) -> dict[str, Takes]:
    """The strictest first. They are tested in this order until one fails, so each has the whole confidence."""
    if form == "calls":
        return {
            CALL: lambda each: bool(each.taken) and not each.calls_nothing,
            CALL_OR_NONE: lambda each: bool(each.taken),
        }
    return {SAME: lambda each: bool(each.taken)}


def count(found: Sequence[Compared], takes: Takes, labels: Mapping[str, Label]) -> Counted:
    taken = [each for each in found if takes(each)]
    told = [labels.get(each.digest) for each in taken if each.disputed]
    known = [label for label in told if label]
    return Counted(len(found), len(taken), len(told), len(known), known.count("right"))


def _cost(found: Sequence[Compared], takes: Takes, prices: Prices) -> float | None:
    def usd(each: Compared, *roles: str) -> float | None:
        return total(*(prices.of(role).usd(each.asked.answers[role].counts) for role in roles))

    small = total(*(usd(each, *each.asked.small) for each in found))
    large = total(*(usd(each, "llm") for each in found))
    spared = total(*(usd(each, "llm") for each in found if takes(each)))
    if small is None or large is None or spared is None or not large:
        return None
    return (small + large - spared) / large


def without_labels(counted: Counted) -> Counted:
    return replace(counted, labelled=0, lost=0)
