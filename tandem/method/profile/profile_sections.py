"""Sections of a profile that say how answers are written, checked and tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tandem.method.conversation import Kind, Task
from tandem.method.evidence.checks import CheckSpec, TrialMode, TrialPlan
from tandem.method.section import Section


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
        description="the same for the large model, as while its first pod starts; 0: not, the small model answers "
        "without it",
    )


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
    tasks: tuple[Kind, ...] = Field(
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

    def as_plan(self, kind: Kind, answer_max_tokens: int, order: Sequence[str]) -> TrialPlan:
        cap, stages = self.max_tokens or answer_max_tokens, self.stages if kind in self.tasks else ()
        return TrialPlan(list(stages), self.mode, self.repairs, cap, self.escalate_max_tokens, list(order))


class DefaultTask(Section):
    """What is asked for where a request does not say: by a question, and by a conversation."""

    question: Task = "answer"
    messages: Task = "chat"
