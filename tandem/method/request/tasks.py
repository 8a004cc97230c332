"""What a model is asked to do for a request, and what it came to: input and output of every model activity."""

import hashlib
import json
from dataclasses import dataclass, field, replace

from tandem.method.conversation import Kind, Message, Task, kind_of
from tandem.method.evidence.checks import CheckResult, CheckSpec, Repair, TrialLimit
from tandem.method.profile.prices import RolePrices
from tandem.method.request.request import SolveInput
from tandem.method.tokens import Sampling, TokenCounts
from tandem.method.tools import ToolUse


@dataclass(frozen=True)
class ModelTask:
    """One model's work on one request: write insight, score a stage, prefill or write the answer.

    `stage` is the stage whose insight is read (0: none). `max_tokens` are cumulative caps of the text to write: one for
    each stage of an insight, one for an answer. `epoch` identifies the attempt; a higher one fences every lower one
    off.
    `llm_alone`: the large model answers the plain question by itself. A service that serves another profile than
    `profile_digest` says refuses the task. `trial`: number of the answer, from 1, where it is checked; a higher one
    begins a new text, and corrects `repair` where that is given. `json_schema`: what the text is held to; empty:
    nothing. `history`: what was said before the question. `stop_strings`: an answer ends before the first of them.
    `tools`: what it may call. `used_before`: what the role had used for this text before the activity, `role` the small
    model that is asked, `limit` when it is stopped (None: never); these stay with the worker. `is_compared`: with
    another model's answer, so that what is begun is reported.
    """

    request_id: str
    question: str
    profile: str
    profile_digest: str = ""
    stage: int = 0
    max_tokens: tuple[int, ...] = ()
    epoch: int = 0
    llm_alone: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    prices: RolePrices = field(default_factory=RolePrices)
    task: Task = "answer"
    trial: int = 0
    repair: Repair | None = None
    json_schema: str = ""
    used_before: TokenCounts = field(default_factory=TokenCounts)
    history: tuple[Message, ...] = ()
    stop_strings: tuple[str, ...] = ()
    tools: ToolUse = field(default_factory=ToolUse)
    role: str = "slm"
    is_compared: bool = False
    # Digest of the body that the large model's API is sent in the conversation's place; empty: none.
    native: str = ""
    limit: TrialLimit | None = None
    # No caller waits for it; stays with the worker.
    is_unattended: bool = False

    @property
    def kind(self) -> Kind:
        return kind_of(self.task, self.json_schema, may_call=self.tools.may_call, question=self.question)


@dataclass(frozen=True)
class CheckTask:
    """An answer to be checked. `answer` is the final answer, for code the program; stage, role and trial as in
    CheckResult.

    `number` counts the request's checked answers from 1, and `last_scored` is the last stage that was scored before
    (-1: none):
    the place of the results among the request's decisions; 0: nobody reads them there. `earlier_answers` are those of
    earlier trials.
    """

    request_id: str
    question: str
    answer: str
    checks: list[CheckSpec]
    task: Task = "answer"
    stage: int = 0
    role: str = "slm"
    trial: int = 0
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


@dataclass(frozen=True)
class AgreementTask:
    """Small models that are asked at once, each of `tasks` with a log of its own: `wanted` of them are to say the same.
    `takes_no_call`, `takes_no_call_later`: as in TrialPlan.
    """

    tasks: list[ModelTask]
    wanted: int
    answer_format: str
    takes_no_call: bool = True
    takes_no_call_later: bool = False

    @property
    def question_digest(self) -> str:
        """Equal where the same is asked: ids of calls, which are drawn anew, are no part of it."""
        first = self.tasks[0]
        said = [[m.speaker, m.text, [[call.name, call.arguments] for call in m.calls]] for m in first.history]
        tools = [tool.as_data() for tool in first.tools.tools]
        return digest_of(said, first.question, first.task, first.json_schema, tools)

    @property
    def policy_digest(self) -> str:
        first, roles = self.tasks[0], [task.role for task in self.tasks]
        no_call = (self.takes_no_call, self.takes_no_call_later)
        return policy_digest(first.profile_digest, roles, self.wanted, no_call)


def policy_digest(profile: str, roles: list[str], wanted: int, no_call: tuple[bool, bool]) -> str:
    """Equal where models, prompts and rule are the same; `profile` is the profile's own digest, `no_call` whether no
    call is taken at the beginning of a session, and later.
    """
    return digest_of(profile, roles, wanted, no_call)


def digest_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Asked:
    """What one of them came to: an outcome, or why there is none, and what it has `reported` to have used."""

    role: str
    outcome: GenerationOutcome | None = None
    failure: str = ""
    reported: TokenCounts = field(default_factory=TokenCounts)


@dataclass(frozen=True)
class AgreementOutcome:
    """`taken` is the place of the answer that is served; None: none is. `check` says why."""

    asked: list[Asked]
    taken: int | None
    check: CheckResult


@dataclass(frozen=True)
class PassOutcome:
    """Tokens of one pass that only reads, and of all such passes of the request, as the request log counts them."""

    counts: TokenCounts = field(default_factory=TokenCounts)
    request_counts: TokenCounts = field(default_factory=TokenCounts)


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

    `tokens` is the insight's length at the end of the stage, `epoch` the attempt that wrote it; `passes` what scoring
    cost; `ahead` what was prefilled meanwhile, None where nothing was, or it had not ended (`is_reading`).
    """

    stage: int
    tokens: int = 0
    score: float | None = None
    epoch: int = 1
    ended: bool = False
    scorer: str = ""
    trained: bool = False
    passes: PassOutcome = field(default_factory=PassOutcome)
    ahead: PassOutcome | None = None
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
    text that it was to write; what the log has of an earlier one is billed. None: an older workflow did not say.
    `repeated`: the share of an API's prompt that the turn before held too; None: a limit of USD depends on the bill.
    """

    request_id: str
    role: str
    model: str
    reported: TokenCounts
    prices: RolePrices
    trial: int | None = None
    repeated: float | None = 0.0


@dataclass(frozen=True)
class LostUsage:
    """`is_complete`: an attempt has reported all its tokens, or none has begun; else the counts are a lower bound."""

    counts: TokenCounts
    is_complete: bool = True


def model_task(task: SolveInput, prices: RolePrices, *, stage: int = 0, max_tokens: tuple[int, ...] = ()) -> ModelTask:
    """A model's task in the request, at its role's prices."""
    return ModelTask(
        request_id=task.request_id,
        question=task.request.question,
        profile=task.plan.profile,
        profile_digest=task.plan.profile_digest,
        stage=stage,
        max_tokens=max_tokens,
        sampling=task.request.sampling,
        prices=prices,
        task=task.request.task,
        json_schema=task.request.json_schema,
        history=tuple(task.request.history),
        stop_strings=tuple(task.request.stop_strings),
        tools=task.request.tools,
        is_unattended=task.is_unattended,
    )


@dataclass(frozen=True)
class Payer:
    """Whose bill it is, and the UTC day (YYYY-MM-DD) that it counts towards on the tenant's account; empty where it has
    none. `session`: whose sum it counts towards.
    """

    tenant: str
    day: str
    session: str = ""
