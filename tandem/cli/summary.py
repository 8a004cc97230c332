"""One line about a request that has ended: who answered, what it cost, what that saved."""

from __future__ import annotations

from tandem.cli.output import dollars
from tandem.client.results import bill_lines, role_name
from tandem.method.roles import title
from tandem.v1 import tandem_pb2

_CUT = "the answer was cut at its limit"
_FAILED = "the large model failed"
_UNCHECKED = "no answer passed the checks"
_NOT_COUNTED = "{}, so no saving is counted"
_MORE = {
    tandem_pb2.STOP_REASON_VERIFIED: ", and its checks pass",
    tandem_pb2.STOP_REASON_UNVERIFIED_BEST: f", but {_UNCHECKED}",
    tandem_pb2.STOP_REASON_BUDGET: ", at its budget",
    tandem_pb2.STOP_REASON_LLM_UNAVAILABLE: f", because {_FAILED}",
    tandem_pb2.STOP_REASON_SCORER_FAILED_OPEN: ", unscored: the scorer failed",
}


def one_line(result: tandem_pb2.SolveResult) -> str:
    """Write the result for people, without a line break."""
    parts = [who_answered(result), _cost(result), _saved(result)]
    if result.policy_step:
        parts.append(f"policy {steps(result.policy_step)} stricter")
    if result.notes:
        parts.append("1 note: -v shows it" if len(result.notes) == 1 else f"{len(result.notes)} notes: -v shows them")
    return " · ".join(filter(None, parts))


def steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"


def who_answered(result: tandem_pb2.SolveResult) -> str:
    """Say in words who answered, with the reason where it is not the usual one."""
    if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
        return "cancelled"
    return _author(result) + _MORE.get(result.stop.reason, "")


def _author(result: tandem_pb2.SolveResult) -> str:
    if result.answered_by == tandem_pb2.ROLE_LLM:
        return "the large model answered by itself"
    if result.answered_by > tandem_pb2.ROLE_SLM:
        return f"the {title(role_name(result.answered_by))} model answered"
    read = next((stage.tokens for stage in result.stages if stage.stage == result.stop.stage), 0)
    return (
        f"the small model answered from {read} tokens of the large model"
        if read
        else "the small model answered by itself"
    )


def _cost(result: tandem_pb2.SolveResult) -> str:
    is_estimated = any(line.usage.is_estimated for line in bill_lines(result))
    return dollars(result.cost.usd if result.cost.HasField("usd") else None, 6) + (
        " (estimated)" if is_estimated else ""
    )


def is_stopgap(result: tandem_pb2.SolveResult) -> bool:
    """Return a small model's answer in the place of a large one that failed."""
    return result.stop.reason == tandem_pb2.STOP_REASON_LLM_UNAVAILABLE


def lacks(result: tandem_pb2.SolveResult) -> str:
    """Return what the answer is not, which its text does not show; empty where nothing is amiss."""
    if is_stopgap(result):
        return who_answered(result)
    if not result.complete and result.stop.reason != tandem_pb2.STOP_REASON_CANCELLED:
        return _CUT
    return _UNCHECKED if result.stop.reason == tandem_pb2.STOP_REASON_UNVERIFIED_BEST else ""


def not_compared(result: tandem_pb2.SolveResult) -> str:
    """Return why no saving is said of a request; empty where one is."""
    if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
        return _NOT_COUNTED.format("it was cancelled")
    if not result.complete:
        return _NOT_COUNTED.format(_CUT)
    if result.cost.HasField("saved_ratio"):
        return ""
    if not result.cost.HasField("usd"):
        return "what is saved is unknown"
    return _NOT_COUNTED.format(_FAILED if is_stopgap(result) else "a limit ended the large model's text")


def _saved(result: tandem_pb2.SolveResult) -> str:
    if result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
        return ""
    if why := not_compared(result):
        return why
    percent = round(100 * result.cost.saved_ratio)
    if not percent:
        return "nothing saved"
    how = "saved" if percent > 0 else "more spent"
    return f"{abs(percent)} % {how}" + ("" if result.cost.llm_alone_is_exact else " (estimate)")
