"""A profile in which the cheap models answer by rules that a promise has shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tandem.method.evidence.checks import EXAMPLES, CheckSpec
from tandem.method.profile.profile import Profile
from tandem.method.promise.arms import ALL_AGREE, LADDER, TWO_AGREE, Arm, LearnedKind

_RULES = {ALL_AGREE.name: "all of three", TWO_AGREE.name: "both", LADDER.name: "ladder"}


def with_arm(profile: Profile, kinds: Iterable[LearnedKind], arm: Arm) -> Profile:
    """The same profile, whose small models answer requests of these kinds by the arm."""
    kinds = frozenset(kinds)
    if kinds == {"code"}:
        return _checked(profile, arm)
    taken = tuple("tools" if each == "no_call" else each for each in sorted(kinds))
    changes = {
        "kinds": (*profile.agreement.kinds, *dict.fromkeys(taken)),
        "rule": _RULES[arm.name],
        "calls": "tools" in kinds,
        "no_call": "no_call" in kinds,
        "no_call_later": False,
    }
    return _changed(profile, {"agreement": changes})


def _checked(profile: Profile, arm: Arm) -> Profile:
    """Programs pass the examples in the prompt; the small models try one after the other."""
    examples = CheckSpec(EXAMPLES, f"weight={arm.weight}")
    return _changed(
        profile,
        {
            "trial": {"stages": (0,), "tasks": ("code",), "mode": "sequential", "order": profile.small_roles},
            "checks": {"code": (str(examples),)},
        },
    )


def _changed(profile: Profile, sections: Mapping[str, Mapping[str, object]]) -> Profile:
    changed = {name: getattr(profile, name).model_copy(update=dict(changes)) for name, changes in sections.items()}
    return profile.model_copy(update=changed)


def strictest(serving: Mapping[LearnedKind, Arm]) -> Arm:
    """Of arms of one request, whose kind is not known before it is answered: each stricter one is shown as well."""
    return max(serving.values(), key=lambda arm: (arm.agree, -arm.models, arm.weight))
