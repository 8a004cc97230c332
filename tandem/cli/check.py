"""tandem check: real requests to an installed system, their bills, checks, and the trace."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from math import isclose
from typing import Annotated
from uuid import uuid4

import typer
from rich.text import Text

from tandem.cli.output import JsonFlag, console, print_json
from tandem.client.clients import Client
from tandem.client.events import InsightDelta
from tandem.client.results import bill_lines
from tandem.errors import RequestError
from tandem.tracing.jaeger import TraceError, fetch_trace
from tandem.v1 import tandem_pb2

_QUESTION = "What is 17 + 25?"
_WAIT_SECONDS = 60.0
_ANY_ANSWER = "regex:(?s).*"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether it passed, and what was found."""

    name: str
    ok: bool
    found: str


def check(
    question: Annotated[str, typer.Argument(help="The question.")] = _QUESTION,
    profile: Annotated[str, typer.Option(help="The gateway's default if not given.")] = "",
    jaeger: Annotated[str, typer.Option(help="Jaeger's query address; without it the trace is not checked.")] = "",
    json: JsonFlag = False,
) -> None:
    """Ask a real question, have an answer checked, cancel a request, and compare bills and trace. Exit code 1 on a
    failure.
    """
    findings = []
    with Client() as client:
        for finding in _findings(client, question, profile, jaeger):
            findings.append(finding)
            if not json:
                mark = ("ok", "green") if finding.ok else ("no", "red")
                console.print(Text.assemble(mark, f"  {finding.name:22} {finding.found}"))
    failed = any(not finding.ok for finding in findings)
    if json:
        print_json({"ok": not failed, "checks": [asdict(finding) for finding in findings]})
    if failed:
        sys.exit(1)


def _findings(client: Client, question: str, profile: str, jaeger: str) -> Iterator[Finding]:
    try:
        result = client.ask(question, profile=profile)
    except RequestError as error:
        yield Finding("answer", False, f"{client.address}: {error}")
        return
    yield Finding("answer", bool(result.answer), f"{result.answer[:40]!r}, {len(result.stages)} stages scored")
    yield _bill_adds_up(result)
    yield _bill_is_stored(client, result)
    if _makes_trials(client, profile):
        yield _answers_are_checked(client, question, profile)
    yield _cancels(client, question, profile)
    if jaeger:
        yield _trace_adds_up(jaeger, result)


def _bill_adds_up(result: tandem_pb2.SolveResult) -> Finding:
    if not result.cost.HasField("usd"):
        return Finding("bill", True, "the price of a model is not known, so the bill has no amount")
    adds_up = isclose(result.cost.usd, sum(line.usd or 0.0 for line in bill_lines(result)), rel_tol=1e-9)
    return Finding("bill", adds_up and result.cost.usd > 0, f"{result.cost.usd:.8f} USD, the sum of its roles")


def _bill_is_stored(client: Client, result: tandem_pb2.SolveResult) -> Finding:
    stored = client.get(result.request_id).result
    return Finding("bill is stored", stored.cost == result.cost, f"request {result.request_id}")


def _makes_trials(client: Client, profile: str) -> bool:
    """Tell whether the profile asks small models first. Only then a check of an answer is certain."""
    served = client.profiles()
    return any(each.trial_stages for each in served.profiles if each.name == (profile or served.default_profile))


def _answers_are_checked(client: Client, question: str, profile: str) -> Finding:
    """Ask with a check that every answer passes, so that only an answer checker that is missing makes a difference."""
    result = client.ask(question, profile=profile, checks=[_ANY_ANSWER])
    verdicts = [check.verdict for check in result.checks if check.name == "regex"]
    names = ", ".join(tandem_pb2.Verdict.Name(each).removeprefix("VERDICT_").lower() for each in verdicts)
    found = f"verdicts: {names}" if verdicts else "; ".join(result.notes) or "no answer was checked"
    return Finding("checks", set(verdicts) == {tandem_pb2.VERDICT_PASS}, found)


def _cancels(client: Client, question: str, profile: str) -> Finding:
    """Ask with threshold 1: no stage suffices, so the large model generates; the request is cancelled at its first
    token.
    """
    request_id = uuid4().hex
    stream = client.solve(question, profile=profile, request_id=request_id, threshold=1.0, keep_running=True)
    with closing(stream) as events:
        next((event for event in events if isinstance(event, InsightDelta)), None)
        client.cancel(request_id)
    deadline = time.monotonic() + _WAIT_SECONDS
    while (state := client.get(request_id)).state == tandem_pb2.REQUEST_STATE_RUNNING:
        if time.monotonic() > deadline:
            return Finding("cancel", False, f"still running after {_WAIT_SECONDS:.0f} s")
        time.sleep(0.1)
    used = state.result.usage.llm
    generated = used.output_tokens + used.overrun_tokens + used.discarded_tokens
    return Finding(
        "cancel", state.state == tandem_pb2.REQUEST_STATE_CANCELLED and generated > 0,
        f"{generated} tokens of the large model billed, {used.overrun_tokens} of them after the cancel",
    )  # fmt: skip


def _trace_adds_up(jaeger: str, result: tandem_pb2.SolveResult) -> Finding:
    """Each process exports its spans at its own pace, so the trace is fetched until it is complete."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (finding := _trace_now(jaeger, result)).ok and time.monotonic() < deadline:
        time.sleep(0.5)
    return finding


def _trace_now(jaeger: str, result: tandem_pb2.SolveResult) -> Finding:
    try:
        trace = fetch_trace(jaeger, result.trace_id)
    except TraceError as error:
        return Finding("trace", False, str(error))
    if trace.is_unpriced:
        return Finding("trace", True, f"the price of a model is not known, so there is no sum: {result.trace_id}")
    if trace.total_usd is None:
        return Finding("trace", False, f"trace {result.trace_id} has no total after {_WAIT_SECONDS:.0f} s")
    is_equal = trace.adds_up and isclose(trace.total_usd, result.cost.usd, rel_tol=1e-6)
    return Finding(
        "trace", is_equal, f"sum of steps {trace.leaf_usd:.8f} USD, bill {trace.total_usd:.8f} USD, {result.trace_id}"
    )
