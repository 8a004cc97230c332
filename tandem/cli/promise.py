"""What a promise is, said where a stack starts."""

from __future__ import annotations

from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile, promising
from tandem.method.promise.arms import LearnedKind
from tandem.method.promise.rule import CREDIT
from tandem.paths import DEFAULT_PROFILE, profile_folders

KINDS: dict[LearnedKind, str] = {
    "tools": "calls of tools",
    "no_call": "texts where tools are offered and none is called",
    "answer": "final answers",
    "option": "options of a question",
    "json": "JSON",
    "code": "programs with examples",
}


def promise_of(pair: str, lose_at_most: float | None) -> str:
    """What is promised of the pair, in sentences; empty: nothing. `lose_at_most` replaces the profile's number."""
    try:
        profile = load_profile(pair or DEFAULT_PROFILE, tuple(profile_folders()))
        profile = promising(profile, lose_at_most) if lose_at_most else profile
    except TandemError:  # the stack says it
        return ""
    promise = profile.promise
    if promise.lose_at_most is None:
        return ""
    kinds = ", ".join(KINDS[kind] for kind in profile.learned)
    return (
        f"{profile.name} promises that of each kind of requests at most {100 * promise.lose_at_most:g} % is lost. "
        f"It learns from the traffic: {kinds}. Until something is shown the large model answers alone. Learning costs "
        f"some {CREDIT:.0f} large answers a kind, then at most {100 * promise.learn:g} % of the spend. Free text and "
        "the middle of a conversation are not covered: the large model answers them (docs/promise.md)."
    )
