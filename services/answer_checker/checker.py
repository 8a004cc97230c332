"""Checks of answers, a bounded number at once, and the settings of their process."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import Field

from services.answer_checker.agreement_check import check_agreement
from services.answer_checker.examples_check import CANDIDATE, EVALUATOR, check_examples
from services.answer_checker.sandbox.layers import Isolation, Limits
from services.answer_checker.sandbox.messages import BadMessage, receive, send
from services.answer_checker.sandbox.processes import Sandbox, SandboxError
from services.shared.checks.api import Compared
from services.shared.checks.registry import find_check
from services.shared.observability.metrics import count_check
from services.shared.observability.spans import describe_check
from services.shared.observability.tracing import current_trace_id, tracer
from services.shared.process.settings import ProcessSettings, read_settings
from tandem.method.errors import FailedPrecondition, ResourceExhausted
from tandem.method.evidence.checks import PROGRAMS_AGREE, CheckResult, CheckSpec, Verdict
from tandem.method.request.tasks import CheckTask

DEFAULT_PORT = 50055
ALLOW_WEAK = "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX"
_TEXT_CHECK = "services.answer_checker.inside.text_check"
_OF_PROGRAMS = [
    "bisect",
    "cmath",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "textwrap",
    "typing",
]
MODULES = CANDIDATE, EVALUATOR, _TEXT_CHECK, *_OF_PROGRAMS
"""What the fork server loads, once: the last ones because programs import them often."""
_REPORT_SECONDS = 2.0
"""How long after its limit a process may take to be ended and reported."""
_RETRY_SECONDS = 1.0
_PROOF_SECONDS = 30.0


class CheckerSettings(ProcessSettings):
    """What the answer checker reads besides. It holds no secret: none of its processes has one to lose."""

    port: int = Field(DEFAULT_PORT, ge=0, le=65535, validation_alias="TANDEM_PORT", description="0 takes a free one")
    concurrency: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        gt=0,
        validation_alias="TANDEM_CHECKER_CONCURRENCY",
        description="checks that run at once; one per core if not set",
    )
    check_seconds: float = Field(
        5.0, gt=0, le=60, validation_alias="TANDEM_CHECK_SECONDS", description="wall time of one check"
    )
    allow_weak_sandbox: bool = Field(
        False,
        validation_alias=ALLOW_WEAK,
        description="run without seccomp, or with neither namespaces nor landlock: for your own prompts only",
    )


def allows_weak_sandbox() -> bool:
    """Return what the operator says by name, for processes that run programs and are no answer checker."""
    return read_settings(CheckerSettings).allow_weak_sandbox


logger = logging.getLogger(__name__)


class AnswerChecker:
    """`concurrency` checks run at once, and at most `max_waiting` calls wait for a place."""

    def __init__(self, sandbox: Sandbox, limits: Limits, concurrency: int, max_waiting: int = 64) -> None:
        self._sandbox, self._limits = sandbox, limits
        self._places = asyncio.Semaphore(concurrency)
        self._max_waiting, self._waiting = max_waiting, 0

    @property
    def isolation(self) -> tuple[str, ...]:
        """Layers that hold on this kernel."""
        return self._sandbox.isolation.holds

    async def check(self, task: CheckTask) -> list[CheckResult]:
        """Return a result for each check, in order. A check whose sandbox fails has the verdict `error`.

        Raises InvalidArgument for an unknown check and ResourceExhausted while too many calls wait. Cancelling ends
        what runs.
        """
        for spec in task.checks:
            find_check(spec)
        async with self._place():
            return [await self._traced(spec, task) for spec in task.checks]

    async def _traced(self, spec: CheckSpec, task: CheckTask) -> CheckResult:
        with tracer.start_as_current_span(f"check {spec.name}") as span:
            began = time.perf_counter()
            result = await self._run(spec, task)
            count_check(spec.name, result.verdict, time.perf_counter() - began, current_trace_id())
            describe_check(span, task.request_id, result)
        return result

    async def _run(self, spec: CheckSpec, task: CheckTask) -> CheckResult:
        try:
            async with asyncio.timeout(self._limits.seconds + _REPORT_SECONDS):
                compared, seconds = await self._compare(spec, task)
        except (SandboxError, BadMessage, TimeoutError) as error:
            logger.error("%s of %s failed: %s", spec.name, task.request_id, error or "no report in time")
            compared, seconds = Compared(Verdict.ERROR, str(error) or "the sandbox did not report in time"), 0.0
        return CheckResult(
            spec.name, verdict=compared.verdict, detail=compared.detail, score=compared.score, seconds=seconds
        )

    async def _compare(self, spec: CheckSpec, task: CheckTask) -> tuple[Compared, float]:
        if find_check(spec).compare is None:
            own = check_agreement if spec.name == PROGRAMS_AGREE else check_examples
            return await own(self._sandbox, self._limits, task, spec.argument)
        return await self._compare_texts(spec, task)

    async def _compare_texts(self, spec: CheckSpec, task: CheckTask) -> tuple[Compared, float]:
        process = self._sandbox.launch(f"{_TEXT_CHECK}:main", self._limits)
        try:
            await send(
                process.talk,
                {"name": spec.name, "question": task.question, "answer": task.answer, "argument": spec.argument},
            )
            found, ended = await receive(process.talk), await process.ended()
        finally:
            process.close()
        if found is None:
            late = f"it did not end within {self._limits.seconds:g} s" if ended.timed_out else "its process ended"
            return Compared(Verdict.ERROR, late), ended.seconds
        return Compared(Verdict(found["verdict"]), found["detail"], found["score"]), ended.seconds

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places.locked() and self._waiting >= self._max_waiting:
            raise ResourceExhausted(
                f"{self._waiting} checks already wait", reason="QUEUE_FULL", retry_after_s=_RETRY_SECONDS
            )
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


async def _prove(sandbox: Sandbox) -> None:
    """Check a right and a wrong answer. Raises SandboxError where that does not come to a pass and a fail."""
    for answer, expected in (("def f():\n    return 1", Verdict.PASS), ("def f():\n    return 2", Verdict.FAIL)):
        task = CheckTask("self-test", "", answer, [])
        compared, _ = await check_examples(sandbox, Limits(seconds=_PROOF_SECONDS), task, "assert f() == 1")
        if compared.verdict is not expected:
            await sandbox.stop()
            raise SandboxError(f"programs do not run in this sandbox: {compared.verdict}, {compared.detail}")


async def start_sandbox(*, allow_weak: bool, without: Sequence[str] = (), modules: Sequence[str] = MODULES) -> Sandbox:
    """Return the sandbox (`without`, `modules`: see Sandbox.start), with a line in the log about its layers.

    Raises FailedPrecondition where the layers do not isolate an answer, and SandboxError where programs do not run.
    """
    sandbox = await Sandbox.start(modules, without)
    isolation = sandbox.isolation
    for layer, reason in isolation.lacks.items():
        logger.warning("the sandbox lacks %s: %s", layer, reason)
    if isolation.is_weak and not allow_weak:
        await sandbox.stop()
        raise FailedPrecondition(_weakness(isolation), reason="WEAK_SANDBOX")
    await _prove(sandbox)
    if isolation.is_weak:
        logger.warning("programs run all the same, since %s=true: they can do what this user can", ALLOW_WEAK)
    logger.info("answers are isolated by %s", ", ".join(isolation.holds))
    return sandbox


def _weakness(isolation: Isolation) -> str:
    reasons = "; ".join(f"{layer}: {reason}" for layer, reason in isolation.lacks.items())
    return (
        "this kernel would not isolate code that a model wrote: that needs seccomp, and namespaces or landlock. Run "
        "the answer checker "
        f"on Linux 5.13 or newer, or, for answers that you trust as your own, set {ALLOW_WEAK}=true (as a developer "
        f"on macOS does). {reasons}"
    )
