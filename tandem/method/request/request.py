"""What a caller asks for."""

# No `from __future__ import annotations` in files whose dataclasses Temporal carries: its decoder would evaluate the
# string annotations again for every message, which took a tenth of a worker's time.
from dataclasses import dataclass, field
from itertools import takewhile

from tandem.method.conversation import Kind, Message, Task, kind_of
from tandem.method.evidence.checks import CheckSpec
from tandem.method.tokens import Sampling
from tandem.method.tools import ToolCall, ToolUse


@dataclass(frozen=True)
class Budget:
    """Limits of one request; None does not limit."""

    max_cost_usd: float | None = None
    max_llm_tokens: int | None = None


@dataclass(frozen=True)
class StopOverrides:
    """Changes to the profile's stop rule for one request; `thresholds` by stage win over `threshold`."""

    threshold: float | None = None
    thresholds: dict[int, float] = field(default_factory=dict)
    max_stage: int | None = None


@dataclass(frozen=True)
class Native:
    """The caller's own body, which is passed on: its protocol, and the digest by which the request log has what is sent
    of it. `dropped`: the places that are not sent.
    """

    protocol: str
    digest: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class SolveRequest:
    """The part of the message tandem.v1.SolveRequest that says what is asked. Empty strings mean "not given".

    `history` is what was said before the question: in a conversation the question is its last message. `stop_strings`
    end the answer before the first of them. Where a tool's result is to be answered, the history is the whole
    conversation and the question is empty. `session`: which one it is a turn of; it begins only while that has cost
    less than `max_session_usd`.
    """

    request_id: str
    question: str
    profile: str = ""
    budget: Budget = field(default_factory=Budget)
    stop: StopOverrides = field(default_factory=StopOverrides)
    sampling: Sampling = field(default_factory=Sampling)
    tenant: str = ""
    task: Task = "answer"
    checks: list[CheckSpec] = field(default_factory=list)
    json_schema: str = ""
    history: list[Message] = field(default_factory=list)
    max_answer_tokens: int | None = None
    stop_strings: list[str] = field(default_factory=list)
    tools: ToolUse = field(default_factory=ToolUse)
    session: str = ""
    max_session_usd: float | None = None
    native: Native | None = None
    # The role of the one model that is asked by its name; empty: the pair.
    model: str = ""

    @property
    def kind(self) -> Kind:
        return kind_of(self.task, self.json_schema, may_call=self.tools.may_call, question=self.question)

    @property
    def answers_tool(self) -> bool:
        return not self.question and bool(self.history) and self.history[-1].speaker == "tool"

    @property
    def last_said(self) -> str:
        """What is answered: the question, or a tool's result."""
        return self.question or (self.history[-1].text if self.history else "")

    @property
    def repeated_share(self) -> float:
        """Of what the models read, by its length: what the conversation's turn before this one had as well, so that a
        vendor's cache has it. 0 of a first turn.
        """
        said = [len(message.text) + sum(len(call.arguments) for call in message.calls) for message in self.history]
        answers = [n for n, message in enumerate(self.history) if message.speaker == "assistant"]
        if not answers:
            return 0.0
        before = sum(said[: answers[-1]]) + sum(
            len(tool.description) + len(tool.parameters) for tool in self.tools.tools
        )
        return before / max(1, before + sum(said[answers[-1] :]) + len(self.question))

    @property
    def answered_calls(self) -> list[ToolCall]:
        """The calls whose results are answered, in the order of the results; none where the user has spoken last."""
        if not self.answers_tool:
            return []
        results = list(takewhile(lambda said: said.speaker == "tool", reversed(self.history)))
        made = {call.id: call for said in self.history for call in said.calls}
        return [made[result.call_id] for result in reversed(results)]
