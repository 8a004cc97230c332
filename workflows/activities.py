"""The workflow's hands: each activity is one call to one service, and none of them retries by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc
from opentelemetry import trace
from opentelemetry.context import Context
from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from services.observability.metrics import count_result, count_shadow
from services.observability.spans import Inference, describe_result, report_discarded
from services.observability.tracing import tracer
from services.process.channels import open_channel
from services.request_log.log import Reading, RequestLog, Role, Stop
from tandem.method.errors import TandemError
from tandem.method.shared import (
    SHADOW_WORKFLOW,
    AheadOutcome,
    AheadTask,
    Announcement,
    AnswerOutcome,
    AnswerTask,
    InsightOutcome,
    InsightTask,
    LossTask,
    RoleUsage,
    ScoreTask,
    ShadowInput,
    ShadowResult,
    SolveResult,
    StageScore,
    StopOrder,
    Timeouts,
    shadow_id,
    solve_queue,
)
from tandem.method.stop_rule import is_sufficient
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, execution_pb2_grpc, insight_pb2, insight_pb2_grpc, tandem_pb2
from workflows import wire
from workflows.retries import gives_up

_REMEMBERED = 1000  # lost attempts, on their way to the next one or to settle_loss
_ABORT_AGAIN_SECONDS = 0.05
_REASONS = {
    execution_pb2.FINISH_REASON_EOS: "eos",
    execution_pb2.FINISH_REASON_LENGTH: "length",
    execution_pb2.FINISH_REASON_ABORTED: "aborted",
}


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    insight_generator: str
    sufficiency_scorer: str
    slm_executor: str


class Activities:
    def __init__(self, addresses: ServiceAddresses, log: RequestLog) -> None:
        self._log = log
        self._last_words: OrderedDict[tuple[str, str], RoleUsage] = OrderedDict()
        self._channels = [
            open_channel(a) for a in (addresses.insight_generator, addresses.sufficiency_scorer, addresses.slm_executor)
        ]
        generator, scorer, executor = self._channels
        self._generator = insight_pb2_grpc.InsightGeneratorStub(generator)
        self._scorer = oip_grpc.GRPCInferenceServiceStub(scorer)
        self._executor = execution_pb2_grpc.SlmExecutorStub(executor)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)

    # -- the large model ----------------------------------------------------------------------------------------

    @activity.defn
    async def generate_insight(self, task: InsightTask) -> InsightOutcome:
        """Let the large model write until it ends or is stopped; a cancel returns what it has made, exactly."""
        epoch = activity.info().attempt
        request = insight_pb2.GenerateRequest(
            request_id=task.request_id,
            epoch=epoch,
            question=task.question,
            stage_max_tokens=task.caps,
            sampling=wire.sampling(task.sampling),
            prices=tandem_pb2.RolePrices(**asdict(task.prices)),
            alone=task.alone,
            task=wire.task(task.task),
        )
        call = self._generator.Generate(request, timeout=Timeouts.attempt.total_seconds())
        last = await self._run(call, self._generator, Inference("", "llm", task.request_id, epoch, task.prices))
        finished = last.finished
        return InsightOutcome(
            reason=_REASONS[finished.reason],
            text=finished.text,
            tokens=finished.tokens,
            usage=last.usage,
            halted_at=finished.halted_at_unix_ms / 1000,
            first_token_at=wire.seconds(finished, "first_token_at_unix_ms"),
            attempt=epoch,
            is_estimated=finished.usage_is_estimated,
        )

    # -- the small model as a judge -----------------------------------------------------------------------------

    @activity.defn
    async def wait_and_score(self, task: ScoreTask) -> StageScore:
        """Block until the stage is written, then ask the scorer; says `ended` when the insight ends before."""
        async with _heartbeating():
            if task.stage == 0:
                tokens, epoch = 0, 1
            else:
                written = await self._wait_for_stage(task)
                if written is None:
                    return StageScore(task.stage, ended=True)
                tokens, epoch = written
            try:
                response = await _to_its_end(
                    self._scorer.ModelInfer(wire.infer_request(task), timeout=Timeouts.score_call.total_seconds())
                )
            except grpc.aio.AioRpcError as error:
                raise wire.application_error(error, StageScore(task.stage, tokens, epoch=epoch)) from error
            score = wire.stage_score(response, task.stage, tokens, epoch)
            await self._announce_score(task, score)
            return score

    async def _wait_for_stage(self, task: ScoreTask) -> tuple[int, int] | None:
        """Tokens at the end of the stage and the epoch that wrote it; None when the insight ended before."""
        try:
            async for transcript in self._log.follow_stages(task.request_id):
                if task.stage in transcript.stage_ends:
                    return transcript.stage_ends[task.stage], transcript.epoch
                if transcript.is_complete:
                    return None
        except TandemError as error:
            raise ApplicationError(str(error), StageScore(task.stage), type=error.reason) from error
        raise AssertionError("the log is followed for ever")

    async def _announce_score(self, task: ScoreTask, score: StageScore) -> None:
        payload: dict[str, object] = {
            "stage": task.stage,
            "score": score.score,
            "threshold": task.threshold,
            "sufficient": is_sufficient(score.score, task.threshold),
            "scorer": score.scorer,
            "trained": score.trained,
        }
        await self.announce(Announcement(task.request_id, task.stage + 1, "scored", payload))

    # -- the small model as the one who answers -----------------------------------------------------------------

    @activity.defn
    async def execute(self, task: AnswerTask) -> AnswerOutcome:
        """Let the small model answer; a cancel returns what it has made, exactly."""
        epoch = task.base_epoch + activity.info().attempt
        request = execution_pb2.ExecuteRequest(
            request_id=task.request_id,
            epoch=epoch,
            question=task.question,
            stage=task.stage,
            max_tokens=task.max_tokens,
            sampling=wire.sampling(task.sampling),
            prices=tandem_pb2.RolePrices(**asdict(task.prices)),
            task=wire.task(task.task),
        )
        call = self._executor.Execute(request, timeout=Timeouts.attempt.total_seconds())
        last = await self._run(call, self._executor, Inference("", "slm", task.request_id, epoch, task.prices))
        finished = last.finished
        return AnswerOutcome(
            reason=_REASONS[finished.reason],
            text=finished.text,
            usage=last.usage,
            first_token_at=wire.seconds(finished, "first_token_at_unix_ms"),
            attempt=epoch - task.base_epoch,
            is_logged=last.started.logged,
            continued=finished.continued,
        )

    @activity.defn
    async def read_ahead(self, task: AheadTask) -> AheadOutcome:
        """Let the small model read what it may answer from; a cancel returns what it has read by then."""
        request = execution_pb2.ReadAheadRequest(
            request_id=task.request_id,
            question=task.question,
            stage=task.stage,
            prices=tandem_pb2.RolePrices(**asdict(task.prices)),
            task=wire.task(task.task),
        )
        call = self._executor.ReadAhead(request, timeout=Timeouts.attempt.total_seconds())
        reading = asyncio.ensure_future(call)
        try:
            async with _heartbeating():
                try:
                    response = await asyncio.shield(reading)
                except asyncio.CancelledError:
                    if _worker_is_leaving():
                        raise
                    while not reading.done():  # the service may get to know of it only after the first time
                        await _abort(self._executor, task.request_id, 0, only_ahead=True)
                        await asyncio.wait({reading}, timeout=_ABORT_AGAIN_SECONDS)
                    response = await reading
        except grpc.aio.AioRpcError as error:
            raise wire.application_error(error, None) from error
        finally:
            reading.cancel()
        return AheadOutcome(
            response.input_tokens,
            response.cached_input_tokens,
            response.request_input_tokens,
            response.request_cached_input_tokens,
        )

    # -- the stop, the bill -------------------------------------------------------------------------------------

    @activity.defn
    async def raise_stop(self, order: StopOrder) -> None:
        """The first cancel lane: the flag in Redis, which the writers hear at once and which refuses their appends."""
        for role, epoch in ((Role.INSIGHT, order.insight_epoch), (Role.ANSWER, order.answer_epoch)):
            if epoch is not None:
                await self._log.request_stop(Stop(order.request_id, role, epoch, order.decided_at))

    @activity.defn
    async def announce(self, announcement: Announcement) -> dict[str, Any] | None:
        """Tell the request's readers. One that cannot be told reads the result from Temporal.

        Returns what they were told before in this slot, which stands: a cancel that comes after the end changes nothing.
        """
        try:
            return await self._log.publish_decision(
                announcement.request_id, announcement.slot, announcement.kind, announcement.payload
            )
        except TandemError as error:
            activity.logger.warning("%s was not announced: %s", announcement.kind, error)
            return None

    @activity.defn
    async def announce_end(self, end: Announcement) -> dict[str, Any] | None:
        """`announce`, and the totals for the trace and the metrics: the gateway's span has none when its client has gone."""
        told = None
        if end.kind == "completed":  # of a failure the readers get the workflow's error
            told = await self.announce(end)
            with contextlib.suppress(TandemError):
                await self._log.finish(end.request_id)
        with tracer.start_as_current_span("settle") as span:
            describe_result(span, value_to_type(SolveResult, told or end.payload))
        if told is None:
            count_result(value_to_type(SolveResult, end.payload), failed=end.kind == "failed")
        return told

    @activity.defn
    async def scored(self, request_id: str) -> list[int]:
        """Tokens (computed, cached) of all scoring passes, also of those whose result was lost on the way."""
        return list(await self._log.tokens_read(request_id, Reading.SCORER))

    @activity.defn
    async def tokens_read_ahead(self, request_id: str) -> AheadOutcome:
        """What was read ahead in all, also by passes whose result was lost."""
        computed, cached = await self._log.tokens_read(request_id, Reading.AHEAD)
        return AheadOutcome(request_input_tokens=computed, request_cached_input_tokens=cached)

    @activity.defn
    async def start_shadow(self, task: ShadowInput) -> None:
        """Start the shadow under a trace of its own, which names the request's; a request has one at most."""
        link = trace.Link(trace.get_current_span().get_span_context())
        with tracer.start_as_current_span("shadow", context=Context(), links=[link]) as span:
            span.set_attribute("tandem.shadow.of", task.request_id)
            with contextlib.suppress(WorkflowAlreadyStartedError):
                await activity.client().start_workflow(
                    SHADOW_WORKFLOW,
                    task,
                    id=shadow_id(task.request_id),
                    task_queue=solve_queue(task.plan.profile),
                    execution_timeout=Timeouts.workflow,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                )

    @activity.defn
    async def count_shadow(self, profile: str, result: ShadowResult) -> None:
        count_shadow(profile, result)

    @activity.defn
    async def settle_loss(self, task: LossTask) -> RoleUsage:
        """The bill of a role whose every attempt failed: what Redis knows, or the service's last words where they say
        more. All of it was for nothing; what no span has told yet is told here.
        """
        role = Role.INSIGHT if task.role == "llm" else Role.ANSWER
        inference = Inference(task.model, task.role, task.request_id, activity.info().attempt, task.prices)
        remembered = self._last_words.pop((task.request_id, task.role), RoleUsage())
        spent = max(((u.input_tokens, u.discarded_tokens) for u in (task.spent, remembered)), key=sum)
        try:
            ledger = await self._log.ledger(task.request_id, role)
            untold = await self._log.tell_untold(task.request_id, role)
        except TandemError as error:
            report_discarded(inference, TokenCounts(spent[0], discarded=spent[1]))
            known_here = RoleUsage(model=task.model, input_tokens=spent[0], discarded_tokens=spent[1])
            raise ApplicationError(str(error), known_here, type=error.reason) from error
        known = (ledger.input_tokens, ledger.made_tokens)
        read, made = max(known, spent, key=sum)
        untold_here = TokenCounts(read - known[0] + untold[0], discarded=made - known[1] + untold[1])
        report_discarded(inference, untold_here)
        return RoleUsage(model=task.model, input_tokens=read, discarded_tokens=made)

    def _remember(self, inference: Inference, spent: RoleUsage) -> None:
        """A cancel between two attempts keeps neither error nor heartbeat; this worker then still knows."""
        self._last_words[inference.request_id, inference.role] = spent
        while len(self._last_words) > _REMEMBERED:
            self._last_words.popitem(last=False)

    # -- one streaming call, cancelled without losing its last word ---------------------------------------------

    async def _run(self, call: Any, stub: Any, inference: Inference) -> _LastWord:
        """Read a stream to its `finished`. When cancelled, abort the work and read on to its exact usage.

        What earlier attempts spent without the request log to write it down travels in the heartbeats' details.
        """
        seen: dict[str, Any] = {}
        reader = asyncio.ensure_future(_read_to_end(call, seen))
        unwritten = _unwritten_before()
        try:
            async with _heartbeating(unwritten):
                try:
                    usage = await asyncio.shield(reader)
                except asyncio.CancelledError:
                    if _worker_is_leaving():
                        raise
                    await _abort(stub, inference.request_id, inference.attempt)
                    usage = await reader
        except grpc.aio.AioRpcError as error:
            spent = wire.usage_in(error).plus_lost(_unless_written(unwritten, seen))
            activity.heartbeat(spent)
            self._remember(inference, spent)
            is_last = gives_up(activity.info().attempt, error.code(), began="started" in seen)
            raise wire.application_error(error, spent, is_last) from error
        finally:
            reader.cancel()
            call.cancel()
        lost = _unless_written(unwritten, seen)
        lost_counts = TokenCounts(lost.input_tokens, discarded=lost.discarded_tokens)
        report_discarded(replace(inference, model=usage.model), lost_counts)
        return _LastWord(usage.plus_lost(lost), seen["started"], seen["finished"])


@dataclass(frozen=True, slots=True)
class _LastWord:
    usage: RoleUsage
    started: Any
    finished: Any


def _worker_is_leaving() -> bool:
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown


async def _to_its_end(call: Any) -> Any:
    """A scoring pass runs to its end and is paid for, whoever has lost interest; a worker that leaves does not wait."""
    response = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(response)
    except asyncio.CancelledError:
        if _worker_is_leaving():
            raise
        return await response


async def _abort(stub: Any, request_id: str, epoch: int, *, only_ahead: bool = False) -> None:
    request = execution_pb2.AbortRequest(
        request_id=request_id, epoch=epoch, decided_at_unix_ms=time.time() * 1000, only_ahead=only_ahead
    )
    await stub.Abort(request, timeout=Timeouts.stop_call.total_seconds())


async def _read_to_end(call: Any, seen: dict[str, Any]) -> RoleUsage:
    """The last usage of a stream, which is read to its very end; `seen` collects its events by kind."""
    last = None
    async for event in call:
        kind = event.WhichOneof("event")
        seen[kind], last = getattr(event, kind), event
    if last is None or not last.HasField("finished"):
        is_last = gives_up(activity.info().attempt, grpc.StatusCode.OK, began=True)
        text = "the service ended its stream without a last word"
        raise ApplicationError(text, type="STREAM_CUT", non_retryable=is_last)
    return wire.role_usage(last.usage)


@asynccontextmanager
async def _heartbeating(detail: RoleUsage | None = None) -> AsyncIterator[None]:
    """Heartbeat while the block runs: the slowest cancel lane, and how a dead worker is noticed.

    The first one costs a call to Temporal, so it waits for its turn, unless there is a `detail` that must not be lost.
    """
    details = () if detail is None or detail == RoleUsage() else (detail,)

    async def beat() -> None:
        if details:
            activity.heartbeat(*details)
        while True:
            await asyncio.sleep(Timeouts.heartbeat_interval.total_seconds())
            activity.heartbeat(*details)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def _unwritten_before() -> RoleUsage:
    """What earlier attempts spent that may be in no log."""
    details = activity.info().heartbeat_details
    return RoleUsage(**details[0]) if details and isinstance(details[0], dict) else RoleUsage()


def _unless_written(unwritten: RoleUsage, seen: dict[str, Any]) -> RoleUsage:
    """`unwritten`, unless the log turned out to know the earlier attempts, whose tokens are then in its ledger."""
    return RoleUsage() if "started" in seen and seen["started"].previous_epoch else unwritten
