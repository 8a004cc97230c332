"""The activities of both models: the large one's insight; the small one's answer, and what the log has of prefills
ahead of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import replace
from statistics import quantiles

import grpc
from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from tandem.convert.outcomes import outcome_from_pb
from tandem.convert.requests import execute_request_to_pb, generate_request_to_pb
from tandem.method.errors import TandemError
from tandem.method.request.job import Job, Step
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import GenerationOutcome, LoggedPrefills
from tandem.method.roles import SLM, title
from tandem.method.timeouts import Timeouts
from tandem.v1 import execution_pb2_grpc, insight_pb2_grpc
from workflows.activities.jobs import current_job
from workflows.activities.model_call import Call, Place, abort, place_of, run_model_call
from workflows.activities.prefill_ahead import PrefillsAhead
from workflows.activities.usage import ReportedUsage

_LOOK_AGAIN_SECONDS = 0.02
_KEPT, _ENOUGH = 32, 8  # trials of a model


class TrialTimes:
    """How long the trials of each model took lately, in this worker: a trial's limit is a multiple of it.

    It counts those that ended by themselves, and those that were stopped at their limit while they wrote: where a model
    becomes slower the limit follows, and where it hangs it does not.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def add(self, model: tuple[str, str], seconds: float) -> None:
        self._seconds[model].append(seconds)

    def usual(self, model: tuple[str, str]) -> float | None:
        """Seconds within which three of four ended: a few that hang do not move it. None: too few have ended."""
        seconds = self._seconds[model]
        return quantiles(seconds, n=4)[2] if len(seconds) >= _ENOUGH else None


class InsightActivities:
    def __init__(self, generator: grpc.aio.Channel, reported: ReportedUsage) -> None:
        self._stub, self._reported = insight_pb2_grpc.InsightGeneratorStub(generator), reported

    @activity.defn
    async def generate_insight(self, step: Step) -> GenerationOutcome:
        """Let the large model write until it ends or is stopped; a cancel returns what it has generated, exactly."""
        job = await current_job()
        return await self._write(job, job.request, step)

    @activity.defn
    async def judge(self, step: Step, question: SolveRequest) -> GenerationOutcome:
        """The same, of a question that the job's own answer raises."""
        return await self._write(await current_job(), question, step)

    async def _write(self, job: Job, request: SolveRequest, step: Step) -> GenerationOutcome:
        step = replace(step, epoch=activity.info().attempt)
        message, limit = generate_request_to_pb(request, step), Timeouts.attempt.total_seconds()
        call = self._stub.Generate(message, timeout=limit, metadata=place_of(request, step))
        done = await run_model_call(call, self._stub, Call(job, step), self._reported)
        return outcome_from_pb(done.finished, done.counts, step.epoch)


class AnswerActivities:
    """`executors`: to the process of each small model, by role."""

    def __init__(
        self,
        executors: Mapping[str, grpc.aio.Channel],
        log: RequestLog,
        reported: ReportedUsage,
        prefills_ahead: PrefillsAhead,
    ) -> None:
        self._stubs = {role: execution_pb2_grpc.SlmExecutorStub(channel) for role, channel in executors.items()}
        self._log, self._reported, self._prefills_ahead = log, reported, prefills_ahead
        self._times = TrialTimes()

    @activity.defn
    async def execute(self, step: Step) -> GenerationOutcome:
        """Let the small model of the step's role answer; a cancel returns what it has generated, exactly. Attempts
        count from `step.epoch`.

        The counts include `step.used_before`.
        """
        return await self.answer(await current_job(), step)

    async def abort(self, step: Step) -> None:
        """The answer that this attempt asks for, where its model has the request by now."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            await abort(self._stub_of(step.role), step.request_id, step.epoch + activity.info().attempt)

    async def answer(self, job: Job, step: Step, place: Place | None = None) -> GenerationOutcome:
        """The same, of one of several models that the activity asks."""
        attempt = activity.info().attempt
        step, stub = replace(step, epoch=step.epoch + attempt), self._stub_of(step.role)
        message, limit = execute_request_to_pb(job.request, step), Timeouts.attempt.total_seconds()
        call = stub.Execute(message, timeout=limit, metadata=place_of(job.request, step))
        model = step.profile, step.role
        most = step.limit.seconds(self._times.usual(model)) if step.limit else None
        began = time.monotonic()
        done = await run_model_call(call, stub, Call(job, step), self._reported, place, most)
        outcome = outcome_from_pb(done.finished, done.counts, attempt, is_logged=done.started.logged)
        was_stopped = outcome.reason == "aborted"
        if most and (not was_stopped or (done.is_late and outcome.counts.generated)):
            self._times.add(model, time.monotonic() - began)
        return replace(outcome, role=step.role, late_after=most if most and done.is_late and was_stopped else 0.0)

    @activity.defn
    async def all_prefill_passes(self, request_id: str, running: tuple[int, ...] = ()) -> LoggedPrefills:
        """All the request's prefills, including those whose result was lost. Those of the stages `running` are aborted,
        and waited for.
        """
        deadline = time.monotonic() + Timeouts.prefill_end.total_seconds()
        while True:
            may_tell_more = bool(running) and await self._abort_prefill(request_id)
            found = await self._known_prefills(request_id)
            is_all = not may_tell_more or set(running) <= found.by_stage.keys() or not found.is_whole
            if is_all or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _known_prefills(self, request_id: str) -> LoggedPrefills:
        own = await self._prefills_ahead.reported(request_id)
        try:
            logged = await self._log.ledger.all_passes(request_id, Pass.PREFILL)
        except TandemError as error:
            activity.logger.warning("prefills are known as far as this worker began them: %s", error)
            return LoggedPrefills(own, is_whole=False)
        return LoggedPrefills(own | {int(stage): counts for stage, counts in logged.items()})

    async def _abort_prefill(self, request_id: str) -> bool:
        """False where the service is away, and with it whatever ran."""
        try:
            await abort(self._stubs[SLM], request_id, 0, only_prefill=True)
        except grpc.aio.AioRpcError:
            return False
        return True

    def _stub_of(self, role: str) -> execution_pb2_grpc.SlmExecutorStub:
        """Raises ApplicationError where nobody has told this worker where the model is."""
        if role not in self._stubs:
            raise ApplicationError(
                f"this worker has no address of the {title(role)} model: set TANDEM_SLM_EXECUTORS={role}=HOST:PORT",
                type="NO_SLM_EXECUTOR",
                non_retryable=True,
            )
        return self._stubs[role]
