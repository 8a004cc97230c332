"""Checks: evidence that an answer is right, from the answer itself (docs/method.md, Checks). Pure: what runs them is
elsewhere.
Trials: where the small model answers, to be checked, before the large model is asked.

A check takes question, answer and what the caller gave, and says pass, fail or unknown, with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from tandem.method.evidence.same_answer import AnswerKind, same
from tandem.method.tokens import TokenCounts

AGREEMENT = "agreement"
"""The check that needs nothing but earlier answers: it passes where the last `argument` trials (default 2) agree."""
EXAMPLES = "python_examples"
"""The check that runs a program on examples."""
PROGRAMS_AGREE = "python_agreement"
"""The check that runs a program and another one on the same inputs."""
_DEFAULT_AGREEING = 2
CALL = "call"
"""The check of calls of tools; every other one is of texts."""


class Verdict(StrEnum):
    """`unknown`: nothing to compare with. `error`: the check itself failed; the request goes on as if there were
    none.
    """

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True)
class CheckSpec:
    """A check by its registered name. `argument` is what it compares with; empty: what the question itself holds."""

    name: str
    argument: str = ""

    @classmethod
    def parse(cls, text: str) -> "CheckSpec":
        """From `name` or `name:argument`, as profiles and callers write it."""
        name, _, argument = text.partition(":")
        return cls(name, argument)

    @property
    def wants_other(self) -> bool:
        """It compares two programs, and says at most how: the other program is the other small model's."""
        lines = (line.strip() for line in self.argument.splitlines())
        return self.name == PROGRAMS_AGREE and all(not line or line.startswith("#") for line in lines)

    def beside(self, program: str) -> "CheckSpec":
        """The same, with the other program."""
        return CheckSpec(self.name, f"{self.argument}\n{program}" if self.argument else program)

    def __str__(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name


@dataclass(frozen=True)
class CheckResult:
    """What a check said of one answer: field by field the message tandem.v1.CheckResult.

    `role` is that of the model that wrote the answer, `trial` the number of the small models' try (0: the large
    model's answer), `score` the share of comparisons that held (0..1), `seconds` processor time.
    """

    name: str
    stage: int = 0
    role: str = "slm"
    verdict: Verdict = Verdict.UNKNOWN
    detail: str = ""
    score: float = 0.0
    seconds: float = 0.0
    trial: int = 0


@dataclass(frozen=True)
class Repair:
    """An answer that failed, and why: what the small model reads when it tries to correct it."""

    answer: str
    failure: str


@dataclass(frozen=True)
class Trial:
    """One answer of a small model that was checked, and its line of the bill: the message tandem.v1.Trial."""

    number: int
    stage: int
    repair: bool
    verdict: Verdict
    usage: TokenCounts
    usd: float | None
    check_seconds: float
    role: str = "slm"


def combined(results: Sequence[CheckResult], *, must_agree: bool = False) -> Verdict:
    """One fail fails the answer; it passes where a check passes and none fails. `must_agree`: nothing passes but by
    PROGRAMS_AGREE.
    """
    verdicts = {result.verdict for result in results}
    agree = any(result.name == PROGRAMS_AGREE and result.verdict is Verdict.PASS for result in results)
    if must_agree and not agree and Verdict.FAIL not in verdicts:
        return Verdict.UNKNOWN
    for verdict in (Verdict.FAIL, Verdict.PASS, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.ERROR if verdicts else Verdict.UNKNOWN


def score(results: Sequence[CheckResult]) -> float:
    """How good an answer is that did not pass, 0..1: the least score of its checks that could compare."""
    compared = [r.score for r in results if r.verdict in (Verdict.PASS, Verdict.FAIL)]
    return min(compared, default=0.0)


def failure(results: Sequence[CheckResult]) -> str:
    """Why the answer failed, in words; empty where it did not."""
    return next((r.detail for r in results if r.verdict is Verdict.FAIL), "")


def agreement(answers: Sequence[str], spec: CheckSpec) -> tuple[Verdict, str]:
    """Of the trials' final answers so far, the newest last: unknown while there are too few to compare.

    Raises ValueError where the argument is no number from 2.
    """
    wanted = int(spec.argument or _DEFAULT_AGREEING)
    if wanted < _DEFAULT_AGREEING:
        raise ValueError(f"agreement compares at least 2 answers, not {wanted}")
    if len(answers) < wanted:
        return Verdict.UNKNOWN, f"{len(answers)} of {wanted} answers"
    *others, last = answers[-wanted:]
    if all(same(AnswerKind("answer"), other, last) for other in others):
        return Verdict.PASS, f"{wanted} answers agree"
    return Verdict.FAIL, f"the last {wanted} answers differ"


TrialMode = Literal["sequential", "overlapped"]
_LEAST_SECONDS = 10.0  # of a trial: a busy machine takes no model's usual time


@dataclass(frozen=True)
class TrialLimit:
    """How long a trial may take: `times` its model's usual time, `most` seconds at most, and never less than `times`
    the seconds that the profile's rates `expected` of it (0: they do not say).
    """

    times: float
    most: float
    expected: float = 0.0

    def seconds(self, usual: float | None) -> float:
        """`usual`: what trials of the model took lately; None: too few have ended."""
        known = self.most if usual is None else min(max(self.times * usual, _LEAST_SECONDS), self.most)
        return max(known, self.times * self.expected)


@dataclass(frozen=True)
class TrialPlan:
    """The small models' answers that are checked before the large model's is waited for (docs/method.md, Checks).

    `order`: who tries, each where those before it did not pass. `stages`: where they try, 0 from the bare question;
    empty: nowhere.
    `mode`: in `overlapped` the large model writes while the bare question is tried or scored, which costs more, and
    takes less time where each model has a device of its own. `repairs`: how often a small model may correct an answer
    of its own of stage 0 that failed.
    `escalate_max_tokens`: a longer question whose trials failed gets the best trial, not the large model; 0: no limit.
    `agree`: the answer that so many of `order` give is taken; 0: they try one by one. The first `at_once` of them are
    asked at the same moment (0: all), each other one where those before it do not decide.
    `takes_calls`: they may agree on calls; `takes_no_call`: that none of the tools is called, with
    `takes_no_call_later` also in the middle of a session. `as_first`: both only as the first of `order` does, which
    tells the kind of the request (tandem.method.promise.arms.LearnedKind).
    """

    stages: list[int] = field(default_factory=list)
    mode: TrialMode = "sequential"
    repairs: int = 0
    max_tokens: int = 0
    escalate_max_tokens: int = 0
    order: list[str] = field(default_factory=lambda: ["slm"])
    agree: int = 0
    at_once: int = 0
    takes_calls: bool = True
    takes_no_call: bool = True
    takes_no_call_later: bool = False
    as_first: bool = False
    # When one is stopped; None: an older plan does not say.
    limit: TrialLimit | None = None

    def number_of(self, role: str) -> int:
        """The most trials that the model makes."""
        return self.order.count(role) * (len(self.stages) + (self.repairs if 0 in self.stages else 0))
