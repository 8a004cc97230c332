"""Sections of a profile that say how answers are written, checked and tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

from tandem.method.conversation import AGREED, AgreedKind, Kind, Task, kind_of
from tandem.method.evidence.checks import CheckSpec, TrialLimit, TrialMode, TrialPlan
from tandem.method.roles import WhenUnavailable
from tandem.method.section import Probability, Section

TRAINED_SCORERS = "mlp", "logistic", "probe", "combined", "words"
NO_SCORER = "off"
_Tried = Literal["answer", "code", "chat", "json", "tools"]
"""Scores and trials take an option as any other final answer."""
_BY_TRIALS = "; trial.stages = [0] then compares what the small models answer, one after the other"
_ELSEWHERE = {
    "code": f"programs are compared by running them, with python_agreement in checks.code{_BY_TRIALS}",
    "chat": "two free texts that say the same are no evidence; the large model answers",
}


class Execution(Section):
    max_tokens: int = Field(gt=0, description="cap of the small model's answer")
    answer_format: Literal["boxed", "text"] = "boxed"
    prefill_ahead: bool = Field(
        default=True,
        description="prefill each stage that does not suffice while the large model goes on, so that the answer "
        "starts at once",
    )
    unavailable_timeout_seconds: float = Field(
        default=120,
        gt=0,
        le=540,
        description="how long to wait for a small model that cannot be reached, as while its pod is replaced",
    )
    llm_unavailable_timeout_seconds: float = Field(
        default=0,
        ge=0,
        le=540,
        description="the same for the large model, as while its first pod starts; where it must answer, at least as "
        "long as a small one",
    )
    when_unavailable: WhenUnavailable = Field(
        default="fail",
        description="where the large model fails and no stage of it was scored: the request fails as the model did, or "
        "the small model answers and says so",
    )


class StopPolicy(Section):
    scorer: str = Field(
        description="name of a registered scorer, with `:subfolder` for a trained one; off: nothing is scored, none "
        "runs"
    )
    stage_zero: bool = Field(default=True, description="score the bare question before asking the large model")
    stage_zero_threshold: Probability = 1.0
    otherwise: Literal["best_stage", "llm_finishes"] = Field(
        default="best_stage",
        description="where no stage suffices; the large model can only finish in continuation mode",
    )
    tasks: tuple[_Tried, ...] = Field(
        default=("answer", "code", "json"),
        description="tasks whose stages are scored, those that the scorer was trained for; in others the large model "
        "finishes",
    )

    @property
    def is_trained(self) -> bool:
        return self.scorer.partition(":")[0] in TRAINED_SCORERS

    @property
    def is_off(self) -> bool:
        return self.scorer == NO_SCORER


class Checks(Section):
    """Names of checks that are made of every answer, by task; `name:argument` gives one its argument."""

    answer: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    chat: tuple[str, ...] = ()

    def of(self, task: Task) -> list[CheckSpec]:
        names: tuple[str, ...] = getattr(self, task)
        return [CheckSpec.parse(given) for given in names]


class TrialSection(Section):
    """Where the small models answer before the large one is asked, if a check can tell whether it is right
    (TrialPlan).
    """

    stages: tuple[int, ...] = ()
    order: tuple[str, ...] = Field(
        default=(),
        description="who tries, each where those before it did not pass; default: the small models, in order",
    )
    tasks: tuple[_Tried, ...] = Field(
        default=("answer", "code"),
        description="tasks that are tried; not json by default: what is held to a schema follows it, right or wrong",
    )
    mode: TrialMode = "sequential"
    repairs: int = Field(default=0, ge=0, le=3)
    max_tokens: int = Field(default=0, ge=0, description="cap of a trial's tokens; 0: the answer's")
    escalate_max_tokens: int = Field(
        default=0,
        ge=0,
        description="a longer question whose trials failed is not asked of the large model; 0: no limit",
    )
    patience: float = Field(
        default=4.0,
        ge=1,
        description="a trial, or an answer of [agreement], is stopped after so many times its model's usual time",
    )
    longest_seconds: float = Field(
        default=120.0, gt=0, le=480, description="and after so many seconds, where [rates] expect no longer time of it"
    )

    def as_plan(self, kind: Kind, answer_max_tokens: int, order: Sequence[str]) -> TrialPlan:
        cap, stages = self.max_tokens or answer_max_tokens, self.stages if kind in self.tasks else ()
        return TrialPlan(
            list(stages), self.mode, self.repairs, cap, self.escalate_max_tokens, list(order), limit=self.limit
        )

    @property
    def limit(self) -> TrialLimit:
        return TrialLimit(self.patience, self.longest_seconds)


class Agreement(Section):
    """Small models that are asked together: what they say alike is taken, else the large model answers
    (docs/checked-answers.md).
    """

    kinds: tuple[AgreedKind, ...] = Field(
        default=(),
        description="kinds of answers that are taken so, those that a promise holds for (`tandem calibrate --write`); "
        "option: one of those that a question lists, which is no `answer` here",
    )
    rule: Literal["all of three", "both", "ladder", "two of three"] = Field(
        default="both",
        description="of the first two or three small models; ladder: the third is asked where the first two differ",
    )
    calls: bool = Field(default=True, description="where tools may be called, calls are taken that all write alike")
    no_call: bool = Field(
        default=True,
        description="where tools may be called, a text without a call is taken where all call none, at the beginning "
        "of a session",
    )
    no_call_later: bool = Field(
        default=False,
        description="the same in the middle of a session, after calls and their results, of which nothing is promised",
    )
    overlapped: bool = Field(
        default=False, description="the large model writes meanwhile, and is stopped where they agree"
    )

    @field_validator("kinds", mode="before")
    @classmethod
    def _names_the_next_step(cls, kinds: object) -> object:
        if refused := [each for each in _ELSEWHERE if isinstance(kinds, list | tuple) and each in kinds]:
            raise ValueError(f"{refused[0]!r} is none of {', '.join(AGREED)}: {_ELSEWHERE[refused[0]]}")
        return kinds

    def kind_of(self, task: Task, json_schema: str, *, may_call: bool, question: str) -> Kind:
        """An option is a kind of its own where final answers or options are taken so, and else a final answer."""
        kind = kind_of(task, json_schema, may_call=may_call, question=question)
        return "answer" if kind == "option" and not {"answer", "option"} & {*self.kinds} else kind

    @property
    def size(self) -> int:
        """How many models may be asked."""
        return 2 if self.rule == "both" else 3

    def as_plan(self, max_tokens: int, roles: Sequence[str], limit: TrialLimit) -> TrialPlan:
        mode: TrialMode = "overlapped" if self.overlapped else "sequential"
        return TrialPlan(
            [0],
            mode,
            max_tokens=max_tokens,
            order=list(roles[: self.size]),
            agree=3 if self.rule == "all of three" else 2,
            at_once=2 if self.rule == "ladder" else 0,
            takes_calls=self.calls,
            takes_no_call=self.no_call,
            takes_no_call_later=self.no_call_later,
            limit=limit,
        )

    def says(self, kind: Kind, names: Sequence[str]) -> str:
        """What is taken, of all small models' names."""
        alone = ", calls alone" if not self.no_call else ", no call alone" if not self.calls else ""
        return f"agreement, {self.rule}{alone if kind == 'tools' else ''}: {', '.join(names[: self.size])}"


class DefaultTask(Section):
    """What is asked for where a request does not say: by a question, and by a conversation."""

    question: Task = "answer"
    messages: Task = "chat"
