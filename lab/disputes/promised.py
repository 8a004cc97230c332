"""`tandem calibrate --lose-at-most` by the agreement of small models: what is lost is bounded by the disputes
(docs/method.md, A promise).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.disputes.asked import Asked, Compared
from lab.disputes.labels import Label
from lab.training.looks import Looks, at_look, at_next_look
from lab.training.promise import Promise, most_lost, questions_needed, upper_bound
from tandem.method.profile.prices import Prices, total

CALL, CALL_OR_NONE, SAME = "the same call", "the same call, or none by both", "the same answer"


@dataclass(frozen=True)
class Seen:
    """One request that all models have answered. `form`: of the answer; `request`: equal where it is the same again;
    `usd`: of all small models, and of the large one; None: a price or a count of tokens is not known.
    """

    form: str
    request: str
    tenant: str
    taken: bool
    calls_nothing: bool
    disputed: bool
    usd: tuple[float | None, float | None]
    label: Label | None = None


Takes = Callable[[Seen], bool]


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
        """Of those accepted the one that takes most. Of two that take as much, the stricter: no request shows what the
        looser one takes beyond it.
        """
        accepted = [each for each in self.tested if each.is_accepted]
        return max(accepted, key=lambda each: each.counted.taken, default=None)  # the first of equals


def show(
    compared: Sequence[Compared], labels: Mapping[str, Label], prices: Prices, promise: Promise, looks: Looks
) -> list[Shown]:
    """One of each group of requests whose agreement is evidence."""
    seen = [_seen(each, labels, prices) for each in compared if each.asked.kind.is_evidence]
    return [shown(about, found, promise, looks) for about, found in groups_of(seen).items()]


def groups_of(seen: Sequence[Seen]) -> dict[str, list[Seen]]:
    """By the kind of answers; where requests name tenants, those of each tenant as well."""
    groups: dict[str, list[Seen]] = {}
    for each in seen:
        for about in (each.form, f"{each.form} of {each.tenant}") if each.tenant else (each.form,):
            groups.setdefault(about, []).append(each)
    return groups


def _seen(each: Compared, labels: Mapping[str, Label], prices: Prices) -> Seen:
    asked = each.asked
    label = labels.get(each.digest) if each.disputed else None
    usd = (_usd(asked, prices, *asked.small), _usd(asked, prices, "llm"))
    about = (asked.kind.form, asked.same_request, asked.tenant)
    return Seen(*about, bool(each.taken), each.calls_nothing, each.disputed, usd, label)


def _usd(asked: Asked, prices: Prices, *roles: str) -> float | None:
    return total(*(prices.of(role).usd(asked.answers[role].counts) for role in roles))


def shown(about: str, found: Sequence[Seen], promise: Promise, looks: Looks, takes_no_call: bool = True) -> Shown:
    """Of one group, which is a look at it."""
    rules = rules_for(found[0].form, takes_no_call)
    number = looks.number(about, (each.request for each in found), rules, promise)
    now, tested = at_look(promise, number), list[Tested]()
    for evidence, takes in rules.items():
        counted, cost = count(found, takes), _cost(found, takes)
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
            requests = questions_needed(at_next_look(promise, number, counted.n), counted.lost / counted.n)
    return Shown(about, promise, number, now.confidence, tested, labels_needed, requests)


def rules_for(form: str, takes_no_call: bool = True) -> dict[str, Takes]:
    """The strictest first. They are tested in this order until one fails, so each has the whole confidence."""
    if form == "calls":
        calls_alone: dict[str, Takes] = {CALL: lambda each: each.taken and not each.calls_nothing}
        return calls_alone | ({CALL_OR_NONE: lambda each: each.taken} if takes_no_call else {})
    return {SAME: lambda each: each.taken}


def count(found: Sequence[Seen], takes: Takes) -> Counted:
    taken = [each for each in found if takes(each)]
    told = [each.label for each in taken if each.disputed]
    known = [label for label in told if label]
    return Counted(len(found), len(taken), len(told), len(known), known.count("right"))


def _cost(found: Sequence[Seen], takes: Takes) -> float | None:
    small, large = (total(*(each.usd[of] for each in found)) for of in (0, 1))
    spared = total(*(each.usd[1] for each in found if takes(each)))
    if small is None or large is None or spared is None or not large:
        return None
    return (small + large - spared) / large
