"""Dry runs as a gateway lists them: what small models said beside the large one, without any text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.disputes.promised import Seen, rules_for
from lab.disputes.served import KINDS
from lab.training.looks import Looks, at_look
from lab.training.promise import Promise, questions_needed
from tandem.client.spending import AGREED, usd_alone
from tandem.method.conversation import Task
from tandem.method.profile.profile import Profile, asked_beside
from tandem.method.request.plan import Plan, make_plan
from tandem.method.request.tasks import policy_digest
from tandem.v1 import tandem_pb2

_FORMS: dict[str, str] = {kind: form for form, kind in KINDS.items()}
_EXAMPLES = {"option": "A) one\nB) other", "json": "{}"}


@dataclass(frozen=True)
class DryRuns:
    """The first of those that repeat, and how many were left out, by the reason."""

    seen: list[Seen]
    left_out: Counter[str]


def read_dry_runs(rows: Iterable[tandem_pb2.RequestSummary], profile: Profile) -> DryRuns:
    """Of the rows of this profile, newest first, those that a promise may be stated from."""
    taken: dict[tuple[str, str], Seen] = {}
    left_out = Counter[str]()
    why_not = {kind: _why_not(profile, kind) for kind in _FORMS}
    for row in reversed([row for row in rows if row.profile == profile.name]):
        about = row.dry_run
        reason = _left_out(row) or why_not.get(about.kind) or _of_other_models(row, profile)
        if not reason and (about.kind, about.question_digest) in taken:
            reason = "asked before"
        if reason:
            left_out[reason] += 1
        else:
            taken[about.kind, about.question_digest] = _seen(row)
    return DryRuns(list(taken.values()), left_out)


def requests_lacking(about: str, found: Sequence[Seen], promise: Promise, looks: Looks, takes_no_call: bool) -> int:
    """Where there are too few for any promise, so that looking would only spend error: how many are needed; else 0."""
    rules = rules_for(found[0].form, takes_no_call)
    look = looks.would_be(about, (each.request for each in found), rules)
    needed = questions_needed(at_look(promise, look)) or 0
    return needed if len(found) < needed else 0


def digest(seen: Sequence[Seen]) -> str:
    """Of what was asked and came of it."""
    return hashlib.sha256(repr(sorted((each.form, each.request, each.disputed) for each in seen)).encode()).hexdigest()


def _left_out(row: tandem_pb2.RequestSummary) -> str:
    if not row.HasField("dry_run"):
        return "kept by an older version, which says no kind"
    return "" if row.reason else "without an end: the small models run, or were not asked"


def _of_other_models(row: tandem_pb2.RequestSummary, profile: Profile) -> str:
    plan = _plan(profile, row.dry_run.kind)
    trial = plan.dry_run
    assert trial is not None
    no_call = (trial.takes_no_call, trial.takes_no_call_later)
    now = policy_digest(profile.digest, trial.order, trial.agree, no_call)
    return "" if now == row.dry_run.policy_digest else "of other models, prompts or another rule than the profile's"


def _plan(profile: Profile, kind: str) -> Plan:
    """Raises InvalidArgument where the profile names too few small models."""
    task: Task = "chat" if kind == "tools" else "answer"
    schema, question = ("{}", "") if kind == "json" else ("", _EXAMPLES.get(kind, ""))
    return make_plan(asked_beside(profile, 1.0), task, schema, may_call=kind == "tools", question=question)


def _why_not(profile: Profile, kind: str) -> str:
    """Dry runs are of what the large model has answered: where others answer some, they are no sample of all."""
    plan = _plan(profile, kind)
    if plan.dry_run is None:
        return f"{kind}: agreement takes it already"
    reached = (plan.stage_zero_threshold, *(stage.threshold for stage in plan.stages))
    is_tried = bool(plan.trial.stages) and bool(profile.checks.of("answer"))
    if is_tried or (plan.is_scored and min(reached) < 1):
        return f"{kind}: the small model answers some by itself, so that dry runs are no sample of all"
    return ""


def _seen(row: tandem_pb2.RequestSummary) -> Seen:
    about, agrees = row.dry_run, row.reason in AGREED
    usd: tuple[float | None, float | None] = (None, None)
    if row.HasField("usd") and row.HasField("saved_ratio"):
        alone = usd_alone(row)
        usd = (row.usd if agrees else row.usd - alone, alone)
    disputed = row.reason == tandem_pb2.STOP_REASON_UNVERIFIED_BEST
    return Seen(_FORMS[about.kind], about.question_digest, row.tenant, agrees, about.no_call, disputed, usd)
