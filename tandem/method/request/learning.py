"""What a request teaches a promise, and what was seen of one that all models answered (docs/promise.md)."""

# No `from __future__ import annotations`: see tandem.method.request.request.
from dataclasses import dataclass, field

from tandem.method.promise.arms import Arm, LearnedKind, arms
from tandem.method.promise.rule import Terms
from tandem.method.request.tasks import digest_of

_RULE = 1
"""Of the rule and of what is compared: where either changes, what was learned begins anew."""


@dataclass(frozen=True)
class KindNow:
    """Of a kind, as the request was admitted: how often it had begun anew, and the arm that serves with the share of
    requests that it usually takes (None: the large model answers alone).
    """

    epoch: int = 0
    arm: str = ""
    usual: float = 0.0


@dataclass(frozen=True)
class Learning:
    """`kinds`: what the request may turn out to be. `digest` identifies models, prompts and rule. `is_sampled`: all
    models answer it. `keep_days`: how long texts of a dispute are kept for a label; 0: not at all. `strength`: of a
    program's prompt, what its examples count. `max_tokens`: cap of a small model's answer.
    """

    tenant: str
    profile: str
    digest: str
    terms: Terms
    small_models: int
    kinds: dict[str, KindNow] = field(default_factory=dict)
    is_sampled: bool = False
    keep_days: int = 0
    strength: int = 0
    max_tokens: int = 0

    def arms(self, kind: LearnedKind) -> tuple[Arm, ...]:
        return arms(kind, self.small_models)

    def serving(self, kind: str) -> str:
        """The name of the arm that answers; empty: the large model does."""
        return self.kinds[kind].arm if kind in self.kinds else ""


@dataclass(frozen=True)
class ArmSeen:
    """What an arm would have done with a sampled request; `saved` in USD, less than 0 where it asked in vain."""

    taken: bool
    disputed: bool
    saved: float


@dataclass(frozen=True)
class Seen:
    """A sampled request: what it turned out to be, USD of the large model's answer and of what was asked only to learn,
    the arm that answered (-1: the large model did), and what each arm would have done.
    """

    kind: LearnedKind
    large: float
    beside: float
    answered: int
    arms: tuple[ArmSeen, ...]

    @property
    def is_disputed(self) -> bool:
        return any(arm.disputed for arm in self.arms)


def digest_of_learning(profile_digest: str, roles: tuple[str, ...], number: tuple[float, float]) -> str:
    """Equal where models, prompts, rule, comparison and the promised `number` with its confidence are the same."""
    return digest_of(profile_digest, roles, number, _RULE)
