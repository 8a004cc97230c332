"""`python_examples`: the answer in one isolated process, the examples in another, and a stream between the two."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.answer_checker.sandbox.cells import Cell, Ended, Sandbox
from services.answer_checker.sandbox.limits import Limits
from services.answer_checker.sandbox.messages import receive, send
from services.checks.api import Compared, failed, passed, unknown
from services.checks.python_examples import counts, examples_of, least_of
from tandem.method.checks import Verdict
from tandem.method.examples import Example
from tandem.method.prompt_code import PromptCode, parse_prompt
from tandem.method.tasks import CheckTask

CANDIDATE = "services.answer_checker.inside.candidate"
EVALUATOR = "services.answer_checker.inside.evaluator"
_LATER_SECONDS = 0.5
"""How much later the answer's process is ended: first the examples' one, so that its last word is what it waits for."""


@dataclass
class _Report:
    """What the examples' process has said so far."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    running: str = ""
    failed: str = ""
    missing: str = ""

    def compared(self, counted: Sequence[int]) -> int:
        """Of what the examples count, that of those which could be compared."""
        judged = zip(counted, self.outcomes, strict=False)  # fewer outcomes, where the process ended early
        return sum(each for each, outcome in judged if outcome["holds"] is not None)

    def add(self, message: dict[str, Any]) -> None:
        if "begins" in message:
            self.running = message["begins"]
        elif "failed" in message:
            self.failed, self.missing = message["failed"], message["missing"]
        else:
            self.running = ""
            self.outcomes.append(message)


async def check_examples(sandbox: Sandbox, limits: Limits, task: CheckTask, argument: str) -> tuple[Compared, float]:
    """The verdict, and seconds of processor time. Raises SandboxError."""
    try:
        examples = examples_of(task.question, argument)
    except ValueError as error:
        return unknown(str(error)), 0.0
    counted, least = counts(examples, argument), least_of(argument)
    if sum(counted) < least:
        return unknown(_too_few(sum(counted), least)), 0.0
    prompt = parse_prompt(task.question)
    report, ended = await _run(sandbox, limits, prompt, examples, task.answer)
    candidate, evaluator = ended
    seconds = candidate.seconds + evaluator.seconds
    if evaluator.status and not evaluator.timed_out:
        return Compared(Verdict.ERROR, f"the examples' process ended with status {evaluator.status}"), seconds
    is_late = evaluator.timed_out
    compared = _verdict(report, prompt, sum(map(bool, counted)), limits, is_late=is_late)
    if compared.verdict is Verdict.PASS and (found := report.compared(counted)) < least:
        compared = unknown(_too_few(found, least))
    return compared, seconds


def _too_few(found: int, least: int) -> str:
    return f"the examples that can be compared count {found}, and a pass needs {least}"


async def _run(
    sandbox: Sandbox, limits: Limits, prompt: PromptCode, examples: Sequence[Example], answer: str
) -> tuple[_Report, tuple[Ended, Ended]]:
    ours, theirs = socket.socketpair()
    report, cells = _Report(), list[Cell]()
    try:
        longer = replace(limits, seconds=limits.seconds + _LATER_SECONDS)
        cells.append(sandbox.launch(f"{CANDIDATE}:main", longer, ours))
        cells.append(sandbox.launch(f"{EVALUATOR}:main", limits, theirs))
        candidate, evaluator = cells
        with suppress(ConnectionError):  # it ended already: what it reported says why
            await send(candidate.talk, {"program": prompt.program(answer)})
            await send(
                evaluator.talk,
                {"setup": prompt.source, "entry": prompt.entry, "examples": [asdict(example) for example in examples]},
            )
        while (message := await receive(evaluator.talk)) is not None:
            report.add(message)
        return report, await asyncio.gather(candidate.end(), evaluator.ended())
    finally:
        for cell in cells:
            cell.close()


def _verdict(report: _Report, prompt: PromptCode, total: int, limits: Limits, *, is_late: bool) -> Compared:
    if report.failed:
        if report.missing and prompt.imports(report.missing):
            return unknown(f"the prompt needs {report.missing}, which is not installed here")
        return failed(report.failed)
    compared = [outcome for outcome in report.outcomes if outcome["holds"] is not None]
    held = sum(outcome["holds"] for outcome in compared)
    wrong = next((outcome["detail"] for outcome in compared if not outcome["holds"]), "")
    if is_late:
        wrong = wrong or f"{report.running or 'the program'} did not end within {limits.seconds:g} s"
    if wrong:
        return failed(wrong, held / max(total, 1))
    if not compared:
        return unknown(
            next((outcome["detail"] for outcome in report.outcomes if outcome["detail"]), "nothing to compare")
        )
    return passed(f"{held} examples hold" if held > 1 else "1 example holds")
