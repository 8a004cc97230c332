"""`python_examples`: the answer in one isolated process, the examples in another, and a stream between the two."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.answer_checker.sandbox.layers import Limits
from services.answer_checker.sandbox.messages import receive, send
from services.answer_checker.sandbox.processes import Ended, IsolatedProcess, Sandbox
from services.shared.checks.api import Compared, failed, passed, unknown
from services.shared.checks.built_in import counts, examples_of, least_of
from tandem.method.evidence.checks import Verdict
from tandem.method.evidence.examples import Example
from tandem.method.evidence.prompt_code import PromptCode, parse_prompt
from tandem.method.request.tasks import CheckTask

CANDIDATE = "services.answer_checker.inside.candidate"
EVALUATOR = "services.answer_checker.inside.evaluator"
_LATER_SECONDS = 0.5
"""How much later the answer's process is ended: first the examples' one, so that its last word is what it waits for."""


@dataclass
class _Report:
    """What the examples' process has said so far. `proofs` are the examples that prove something, by index."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    running: str = ""
    failed: str = ""
    missing: str = ""
    is_judged: bool = False
    own_measure: bool = False
    proofs: list[int] | None = None

    def add(self, message: dict[str, Any]) -> None:
        match message:
            case {"begins": source}:
                self.running = source
            case {"failed": why, "missing": missing}:
                self.failed, self.missing = why, missing
            case {"judged": _}:
                self.is_judged = True
            case {"proofs": proofs, "own_measure": own_measure}:
                self.proofs, self.own_measure = proofs, own_measure
            case _:
                self.running = ""
                self.outcomes.append(message)

    def first(self, said: str) -> str:
        """Return why the first example of that outcome has it; empty where none has."""
        return next((outcome["detail"] for outcome in self.outcomes if outcome["said"] == said), "")


async def check_examples(sandbox: Sandbox, limits: Limits, task: CheckTask, argument: str) -> tuple[Compared, float]:
    """Return the verdict, and seconds of processor time. Raises SandboxError."""
    try:
        examples = examples_of(task.question, argument)
    except ValueError as error:
        return unknown(str(error)), 0.0
    counted, least = counts(examples, argument), least_of(argument)
    if sum(counted) < least:
        return unknown(_too_few(sum(counted), least)), 0.0
    prompt = parse_prompt(task.question)
    report, ended = await _run(sandbox, limits, task, prompt, examples)
    candidate, evaluator = ended
    seconds = candidate.seconds + evaluator.seconds
    if evaluator.status and not evaluator.timed_out:
        return Compared(Verdict.ERROR, f"the examples' process ended with status {evaluator.status}"), seconds
    found = _found(report, prompt, sum(map(bool, counted)), limits, is_late=evaluator.timed_out)
    return found or _weighed(report, counted, least), seconds


def _too_few(found: int, least: int) -> str:
    return f"the examples that prove something count {found}, and a pass needs {least}"


async def _run(
    sandbox: Sandbox, limits: Limits, task: CheckTask, prompt: PromptCode, examples: Sequence[Example]
) -> tuple[_Report, tuple[Ended, Ended]]:
    ours, theirs = socket.socketpair()
    report, processes = _Report(), list[IsolatedProcess]()
    try:
        longer = replace(limits, seconds=limits.seconds + _LATER_SECONDS)
        processes.append(sandbox.launch(f"{CANDIDATE}:main", longer, ours))
        processes.append(sandbox.launch(f"{EVALUATOR}:main", limits, theirs))
        candidate, evaluator = processes
        with suppress(ConnectionError):  # it ended already: what it reported says why
            await send(candidate.talk, {"program": prompt.program(task.answer)})
            await send(
                evaluator.talk,
                {
                    "question": task.question,
                    "setup": prompt.runnable,
                    "to_write": prompt.to_write,
                    "entry": prompt.entry,
                    "examples": [asdict(example) for example in examples],
                },
            )
        while (message := await receive(evaluator.talk)) is not None:
            report.add(message)
        return report, await asyncio.gather(candidate.end(), evaluator.ended())
    finally:
        for process in processes:
            process.close()


def _found(report: _Report, prompt: PromptCode, total: int, limits: Limits, *, is_late: bool) -> Compared | None:
    """Return the verdict, unless every example could be compared and none is wrong."""
    if report.failed:
        if report.missing and prompt.imports(report.missing):
            return unknown(f"the prompt needs {report.missing}, which is not installed here")
        return failed(report.failed)
    wrong = report.first("wrong")
    if is_late and not report.is_judged:
        wrong = wrong or f"{report.running or 'the program'} did not end within {limits.seconds:g} s"
    if wrong:
        return failed(wrong, sum(outcome["said"] == "holds" for outcome in report.outcomes) / max(total, 1))
    return unknown(why) if (why := report.first("unknown")) else None


def _weighed(report: _Report, counted: Sequence[int], least: int) -> Compared:
    """Return a pass, if what holds proves enough."""
    if report.own_measure:
        return unknown("the answer changes an argument from which the expected value is computed")
    if report.proofs is None:
        return unknown("the time did not suffice to see whether the examples can fail")
    proven = [counted[index] for index in report.proofs if counted[index]]
    if sum(proven) < least:
        return unknown(_too_few(sum(proven), least))
    return passed(f"{len(proven)} examples hold" if len(proven) > 1 else "1 example holds")
