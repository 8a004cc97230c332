"""A promise that is shown on live traffic: of one kind of requests at most a share is lost, where the large model would
have been right and the served answer is wrong (docs/promise.md).

A request is *sampled* by a coin that is tossed before it is answered: then all models answer it. An *arm* is a rule by
which answers of cheap models are taken; a kind has some, in a fixed order, the strictest first. All functions here are
pure: counts in, decisions out. The gateway, `tandem learn` and the simulation call them.
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import math
from dataclasses import dataclass

BETS = (0.9, 0.6, 0.3)
"""Bets against "more than d is lost", fair where exactly d is: each wins most where (1 - bet) d is."""
LEAST_SAMPLED = 50
CREDIT = 40.0
"""Large answers that learning a kind may cost at the start, before its share of the spend limits it."""
PAYS = 0.05
"""The least share of the spend that an arm saves, beside half of what watching it costs."""
PATIENCE = 1000
"""Sampled requests after which learning a kind that no arm was shown for goes on at a tenth."""
_MOST_WATCHED, _LEAST_WATCHED = 0.5, 0.01
_FIRST_LOOK, _RESTART = 4 / 3, 4.0
_MOST_OFFS = 200  # the level is far beyond reach then, and a float64
_HALVINGS = 40
_MOST_NATS = 600.0  # a float64 ends at 709


@dataclass(frozen=True)
class Terms:
    """At most the share `lose_at_most` is lost, with this `confidence` for all `kinds` together, and learning takes at
    most the share `learn` of the spend.
    """

    lose_at_most: float
    learn: float = 0.05
    confidence: float = 0.95
    kinds: int = 1


@dataclass(frozen=True)
class ArmCounts:
    """Of the sampled requests: those whose answer the arm took; of these, disputes without a label and those that a
    label calls lost; and USD that the arm would have saved, less where it asked in vain.
    """

    taken: int = 0
    open: int = 0
    lost: int = 0
    saved: float = 0.0


@dataclass(frozen=True)
class KindCounts:
    """`large` and `beside` are USD over the sampled requests: what the large model's answers cost, and what was paid
    only to learn. `shown`: so many arms, the strictest first, were. `offs`: how often the kind has begun anew. `done`:
    how many other kinds have all their arms shown.
    """

    arms: tuple[ArmCounts, ...]
    sampled: int = 0
    large: float = 0.0
    beside: float = 0.0
    shown: int = 0
    offs: int = 0
    done: int = 0


def evidence(sampled: int, lost: int, lose_at_most: float) -> float:
    """Evidence against "more than `lose_at_most` is lost": above x by chance in at most one of x streams, however
    often one looks, since each factor is at best a fair bet while more is lost (Ville; Waudby-Smith & Ramdas 2024).

    It falls with `lost`, so a dispute without a label may be counted as lost: what is shown is true whatever its label
    will say.
    """
    step = lose_at_most / (1 - lose_at_most)
    logs = (lost * math.log1p(-bet) + (sampled - lost) * math.log1p(bet * step) for bet in BETS)
    return sum(math.exp(min(_MOST_NATS, each)) for each in logs) / len(BETS)


def level(counts: KindCounts, terms: Terms) -> float:
    """The evidence that shows an arm. Kinds share the error, and one with all its arms shown leaves its share to the
    others (Holm); the first look has three quarters of it, each new beginning a quarter of what the one before had.
    """
    left = max(1, terms.kinds - counts.done)
    return _FIRST_LOOK * left / (1 - terms.confidence) * _RESTART ** min(counts.offs, _MOST_OFFS)


def shown(counts: KindCounts, terms: Terms) -> int:
    """How many arms are shown: those that were, and each further one whose evidence reaches the level."""
    number = counts.shown
    while counts.sampled >= LEAST_SAMPLED and number < len(counts.arms):
        arm = counts.arms[number]
        if evidence(counts.sampled, arm.lost + arm.open, terms.lose_at_most) < level(counts, terms):
            break
        number += 1
    return number


def serving(counts: KindCounts, terms: Terms) -> int | None:
    """The shown arm that saves most; None: the large model answers alone."""
    paying = [number for number in range(counts.shown) if _pays(counts, number, terms)]
    return max(paying, key=lambda number: counts.arms[number].saved, default=None)


def label_decides(counts: KindCounts, terms: Terms) -> int | None:
    """The arm whose open disputes a label could decide: it would be shown if none of them were lost. None: labels
    would change nothing now.
    """
    if counts.shown >= len(counts.arms) or counts.sampled < LEAST_SAMPLED:
        return None
    arm = counts.arms[counts.shown]
    could = evidence(counts.sampled, arm.lost, terms.lose_at_most) >= level(counts, terms)
    return counts.shown if arm.open and could else None


def bound(sampled: int, lost: int, enough: float) -> float:
    """The least share that the evidence shows to be more than what is lost, 0..1; 1 where it shows none."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_shown = evidence(sampled, lost, middle) >= enough
        low, high = (low, middle) if is_shown else (middle, high)
    return high if high < 1 - 1e-9 else 1.0


def learns_with(counts: KindCounts, terms: Terms) -> float:
    """Chance that a request, which the large model answers alone, is asked of the cheap models too."""
    if counts.large <= 0 or counts.sampled == 0:
        return 1.0
    answer, price = counts.large / counts.sampled, counts.beside / counts.sampled
    if counts.sampled >= LEAST_SAMPLED and not any(_pays(counts, number, terms) for number in range(len(counts.arms))):
        return 0.0
    if counts.beside < CREDIT * answer:
        return 1.0
    slowed = 0.1 if counts.sampled >= PATIENCE and not counts.shown else 1.0
    return min(1.0, slowed * terms.learn * answer / price)


def watches_with(counts: KindCounts, terms: Terms, number: int) -> float:
    """Chance that a request, which the arm `number` answers, is asked of the large model too."""
    if not counts.large:
        return _MOST_WATCHED
    spend = 1 - counts.arms[number].saved / counts.large
    taken = max(counts.arms[number].taken / max(1, counts.sampled), 0.05)
    return min(_MOST_WATCHED, max(_LEAST_WATCHED, terms.learn * spend / taken))


def _pays(counts: KindCounts, number: int, terms: Terms) -> bool:
    return counts.arms[number].saved > (PAYS + terms.learn / 2) * counts.large
