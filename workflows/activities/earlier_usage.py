"""What earlier attempts of a role used, also what the request log does not know of: Redis may have lost it, or never had it."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity
from temporalio.converter import value_to_type

from tandem.method.tokens import TokenCounts


@dataclass(slots=True)
class EarlierUsage:
    """`total`: as far as anybody knows. `missing`: the part of it that the log lacked when the last attempt began.

    Both count prompt and discarded tokens. Heartbeats carry it to the next attempt.
    """

    total: TokenCounts
    missing: TokenCounts

    @classmethod
    def of_attempt(cls, before: TokenCounts) -> EarlierUsage:
        """For the attempt that this activity makes; `before` is what the role had used before its first one."""
        details = activity.info().heartbeat_details
        if len(details) < 2:
            return cls(before, TokenCounts())
        total, missing = (value_to_type(TokenCounts, detail) for detail in details)
        return cls(total, missing)

    @property
    def is_none(self) -> bool:
        return not self.total.computed

    def see_log(self, logged: TokenCounts) -> None:
        """The attempt has begun, with `logged` in the log. An attempt that died unheard may be in the log alone, and what was
        reported may have gone from it.
        """
        self.total = at_least(self.total, logged + self.missing)
        self.missing = without(self.total, logged)

    def fail(self, reported: TokenCounts, logged: TokenCounts) -> None:
        """The attempt has failed; its service `reported` its own tokens and those that were `logged` when it began, or nothing."""
        self.total = at_least(self.total, at_least(reported, logged) + self.missing)

    @property
    def details(self) -> tuple[TokenCounts, ...]:
        """For a heartbeat."""
        return () if self.is_none else (self.total, self.missing)


def at_least(one: TokenCounts, other: TokenCounts) -> TokenCounts:
    """The larger prompt and the larger number of generated tokens, as discarded."""
    return TokenCounts(prompt=max(one.prompt, other.prompt), discarded=max(one.generated, other.generated))


def without(counts: TokenCounts, known: TokenCounts) -> TokenCounts:
    """What `counts` has beyond `known`, as discarded."""
    return TokenCounts(
        prompt=max(0, counts.prompt - known.prompt), discarded=max(0, counts.generated - known.generated)
    )
