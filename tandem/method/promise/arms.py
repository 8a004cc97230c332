"""Rules by which answers of cheap models are taken, as data: by kind of request, the strictest first."""

# No `from __future__ import annotations`: see tandem.method.request.request.
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tandem.method.conversation import Kind

LearnedKind = Literal["tools", "no_call", "answer", "option", "json", "code"]
"""As `Kind`; where tools are offered `no_call` if the first small model calls none, else `tools`. Of free text nothing
can be shown: nobody can tell whether two texts say the same.
"""
LEARNED: tuple[LearnedKind, ...] = ("tools", "no_call", "answer", "option", "json", "code")
Same = Callable[[int, int], bool]
"""Whether the answers at two places say the same."""


@dataclass(frozen=True)
class Arm:
    """`models` small models may be asked, the first `at_once` of them at the same moment and each other one where those
    do not decide; `agree` of them are to say the same. `weight`: of a program, examples in the prompt that it must pass
    (docs/checks.md, Weights); 0: no check proves it.
    """

    name: str
    models: int
    at_once: int
    agree: int = 1
    weight: int = 0

    def taken(self, answers: Sequence[bool], same: Same) -> int | None:
        """The place of the answer that is taken; `answers` says of each model whether it has a usable one."""
        usable = [place for place, is_usable in enumerate(answers[: self.models]) if is_usable]
        for place in usable:
            if sum(other == place or same(place, other) for other in usable) >= self.agree:
                return place
        return None

    def requested(self, answers: Sequence[bool], same: Same) -> int:
        """How many models it asks to come to that: the first ones, and the others one by one."""
        for number in range(self.at_once, self.models):
            if Arm(self.name, number, number, self.agree).taken(answers[:number], same) is not None:
                return number
        return self.models


ALL_AGREE = Arm("all agree", 3, 3, agree=3)
TWO_AGREE = Arm("two agree", 2, 2, agree=2)
LADDER = Arm("ladder", 3, 2, agree=2)
_BY_AGREEMENT = {2: (TWO_AGREE,), 3: (ALL_AGREE, TWO_AGREE, LADDER)}
WEIGHTS = (6, 4, 2, 1)


def arms(kind: LearnedKind, small_models: int) -> tuple[Arm, ...]:
    """Those that a profile with so many small models can learn; none where nothing of them is evidence."""
    if kind == "code":
        return tuple(Arm(f"examples {weight}", small_models, 1, weight=weight) for weight in WEIGHTS)
    return _BY_AGREEMENT.get(small_models, ())


def learned_kinds(kind: Kind) -> tuple[LearnedKind, ...]:
    """What a request of the kind may turn out to be; none for free text."""
    if kind == "tools":
        return ("tools", "no_call")
    return () if kind == "chat" else (kind,)
