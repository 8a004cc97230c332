"""What a step came to, and what the short activities beside the models' are asked."""

import hashlib
import json
from dataclasses import dataclass, field, replace

from tandem.method.conversation import Message, Task
from tandem.method.evidence.checks import CheckResult, CheckSpec
from tandem.method.profile.prices import RolePrices
from tandem.method.request.request import SolveRequest
from tandem.method.tokens import TokenCounts


@dataclass(frozen=True)
class CheckTask:
    """What a checker is asked. `answer` is the final answer, for code the program."""

    request_id: str
    question: str
    answer: str
    checks: list[CheckSpec]
    task: Task = "answer"


@dataclass(frozen=True)
class ToCheck:
    """The answer of a step that is to be checked.

    `number` counts the request's checked answers from 1, and `last_scored` is the last stage that was scored before
    (-1: none): the place of the results among the request's decisions; 0: nobody reads them there. `earlier_answers`
    are those of earlier trials.
    """

    answer: str
    checks: list[CheckSpec]
    number: int = 1
    last_scored: int = -1
    earlier_answers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GenerationOutcome:
    """`reason` is eos, length or aborted; times are Unix seconds. `counts` cover every attempt of the role.

    `is_logged`: the request log took the text. `continued_from` is the insight that an answer goes on from, in
    continuation mode. `prompt`: the prompt's tokens, computed and cached, as one attempt that nothing interrupts reads
    them; None: an older service does not say. `message`: the text as what it says and calls, where tools were offered.
    `role`: the small model that wrote an answer. `late_after`: seconds after which it was stopped, the limit of a
    trial; 0: it was not.
    """

    reason: str
    text: str
    counts: TokenCounts
    finished_at: float
    first_token_at: float | None
    attempt: int
    is_logged: bool = True
    continued_from: str = ""
    prompt: TokenCounts | None = None
    message: Message | None = None
    role: str = "slm"
    late_after: float = 0.0

    @property
    def uninterrupted(self) -> TokenCounts:
        """What the text takes without the work of lost attempts."""
        read = self.prompt or replace(self.counts, discarded=0)
        written = self.counts.completion + self.counts.overrun
        uses, is_estimated = self.counts.tool_uses, self.counts.is_estimated
        return replace(read, completion=written, overrun=0, is_estimated=is_estimated, tool_uses=uses)


def question_digest(request: SolveRequest) -> str:
    """Equal where the same is asked: ids of calls, which are drawn anew, are no part of it."""
    said = [[m.speaker, m.text, [[call.name, call.arguments] for call in m.calls]] for m in request.history]
    tools = [tool.as_data() for tool in request.tools.tools]
    return digest_of(said, request.question, request.task, request.json_schema, tools)


def digest_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Asked:
    """What one of them came to: an outcome, or why there is none, and what it has `reported` to have used.
    `was_asked`: False where the others had decided before.
    """

    role: str
    outcome: GenerationOutcome | None = None
    failure: str = ""
    was_asked: bool = True
    reported: TokenCounts = field(default_factory=TokenCounts)


@dataclass(frozen=True)
class AgreementOutcome:
    """`taken` is the place of the answer that is served; None: none is. `check` says why. `first_calls`: the first
    model calls tools; None: it had said nothing that tells.
    """

    asked: list[Asked]
    taken: int | None
    check: CheckResult
    first_calls: bool | None = None


@dataclass(frozen=True)
class LoggedPrefills:
    """All prefills that the request log or the worker knows of, by the stage from whose insight the prompt was made.
    `is_whole`: the log has answered.
    """

    by_stage: dict[int, TokenCounts] = field(default_factory=dict)
    is_whole: bool = True


@dataclass(frozen=True)
class Ahead:
    """While another stage is waited for, the small model prefills the prompt of an answer from `stage`, at its
    `prices`.
    """

    stage: int
    prices: RolePrices


@dataclass(frozen=True)
class StageScore:
    """`score` is None when the insight ended before the stage did (`ended`), or when the scorer failed.

    `tokens` is the insight's length at the end of the stage, `epoch` the attempt that wrote it; `scored` what this
    stage's pass read; `ahead` what was prefilled meanwhile, None where nothing was, or it had not ended (`is_reading`).
    `all_scored` and `all_ahead` are what the request log has of all such passes of the request by then.
    """

    stage: int
    tokens: int = 0
    score: float | None = None
    epoch: int = 1
    ended: bool = False
    scorer: str = ""
    trained: bool = False
    scored: TokenCounts = field(default_factory=TokenCounts)
    all_scored: TokenCounts = field(default_factory=TokenCounts)
    ahead: TokenCounts | None = None
    all_ahead: TokenCounts = field(default_factory=TokenCounts)
    is_reading: bool = False


@dataclass(frozen=True)
class StopOrder:
    """Stop the roles of a request that run under `epoch` or an older one. `decided_at` is Unix seconds. `beside`: small
    models that write an answer beside the first one's, and are stopped with it.
    """

    request_id: str
    insight_epoch: int | None
    answer_epoch: int | None
    decided_at: float
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class LostUsageTask:
    """Settle a role whose every attempt failed; `reported` is what its service put into its last error. `trial`: the
    text that it was to write; what the log has of an earlier one is billed.
    `repeated`: the share of an API's prompt that the turn before held too; None: a limit of USD depends on the bill.
    """

    request_id: str
    role: str
    model: str
    reported: TokenCounts
    prices: RolePrices
    trial: int = 0
    repeated: float | None = 0.0


@dataclass(frozen=True)
class LostUsage:
    """`is_complete`: an attempt has reported all its tokens, or none has begun; else the counts are a lower bound."""

    counts: TokenCounts
    is_complete: bool = True


@dataclass(frozen=True)
class Payer:
    """Whose bill it is, and the UTC day (YYYY-MM-DD) that it counts towards on the tenant's account; empty where it has
    none. `session`: whose sum it counts towards.
    """

    tenant: str
    day: str
    session: str = ""
