"""The checker's activity: have an answer checked, by the answer checker and by others' services, and publish the
results.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import grpc
from temporalio import activity

from services.shared.process.channels import open_channel
from services.shared.process.transport import PLAIN, Transport
from services.shared.request_log.decisions import checked_slot
from services.shared.request_log.log import RequestLog
from tandem.convert.outcomes import check_result_from_pb
from tandem.convert.requests import check_request_to_pb
from tandem.method.errors import TandemError
from tandem.method.evidence.checks import AGREEMENT, CheckResult, CheckSpec, Verdict, agreement
from tandem.method.request.events import Checked
from tandem.method.request.job import Step
from tandem.method.request.tasks import CheckTask, ToCheck
from tandem.method.timeouts import Timeouts
from tandem.v1 import checking_pb2_grpc
from workflows.activities.attempts import application_error, heartbeating
from workflows.activities.jobs import current_job

_MOST_CHARACTERS = 1_000_000
_DETAIL_CHARACTERS = 4_000


class OtherCheckers:
    """Checks of somebody's own behind gRPC: the answer checker's contract, at an address that the operator names.

    `addresses` by the check's name. What one of them says wrong, too late or too long is that check's `error`: the
    request goes on.
    """

    def __init__(self, addresses: Mapping[str, str], transport: Transport = PLAIN) -> None:
        self._channels = {name: open_channel(address, transport) for name, address in addresses.items()}

    def has(self, name: str) -> bool:
        return name in self._channels

    async def check(self, checks: Sequence[CheckSpec], task: CheckTask, step: Step) -> list[CheckResult]:
        """One result for each, in order; `task` is what each of them is asked."""
        return list(await asyncio.gather(*(self._one(check, task, step) for check in checks)))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    async def _one(self, check: CheckSpec, task: CheckTask, step: Step) -> CheckResult:
        asked = replace(task, checks=[check])
        error = CheckResult(check.name, step.stage, step.role, Verdict.ERROR, trial=step.trial)
        if len(task.answer) + len(task.question) > _MOST_CHARACTERS:
            return replace(error, detail=f"question and answer have more than {_MOST_CHARACTERS} characters")
        stub = checking_pb2_grpc.AnswerCheckerStub(self._channels[check.name])
        try:
            reply = await stub.Check(check_request_to_pb(asked), timeout=Timeouts.check_call.total_seconds())
        except grpc.aio.AioRpcError as failure:
            return replace(error, detail=f"{failure.code().name}: {failure.details()}"[:_DETAIL_CHARACTERS])
        if [result.name for result in reply.results] != [check.name]:
            return replace(error, detail="the checker does not answer for this check")
        try:
            found = check_result_from_pb(reply.results[0], step)
        except TandemError as unknown:
            return replace(error, detail=str(unknown))
        if not (math.isfinite(found.score) and math.isfinite(found.seconds) and found.seconds >= 0):
            return replace(error, detail="the checker's numbers are none")
        return replace(found, score=min(max(found.score, 0.0), 1.0), detail=found.detail[:_DETAIL_CHARACTERS])


class CheckingActivities:
    def __init__(self, checker: grpc.aio.Channel, log: RequestLog, others: OtherCheckers) -> None:
        self._stub, self._log, self._others = checking_pb2_grpc.AnswerCheckerStub(checker), log, others

    @activity.defn
    async def check(self, step: Step, found: ToCheck) -> list[CheckResult]:
        """One result for each check: the answer checker's, others', and agreement. A cancel ends the checks in the
        service.
        """
        request = (await current_job()).request
        others = [check for check in found.checks if self._others.has(check.name)]
        own = [check for check in found.checks if check.name != AGREEMENT and not self._others.has(check.name)]
        task = CheckTask(step.request_id, request.question, found.answer, own, request.task)
        async with heartbeating():
            by_ours, by_others = await asyncio.gather(self._run(task, step), self._others.check(others, task, step))
        results = [*by_ours, *by_others]
        results += [_agreement(check, step, found) for check in found.checks if check.name == AGREEMENT]
        await self._publish(step, found, results)
        return results

    async def _run(self, task: CheckTask, step: Step) -> list[CheckResult]:
        if not task.checks:
            return []
        try:
            response = await self._stub.Check(check_request_to_pb(task), timeout=Timeouts.check_call.total_seconds())
        except grpc.aio.AioRpcError as error:
            raise application_error(error, None) from error
        return [check_result_from_pb(result, step) for result in response.results]

    async def _publish(self, step: Step, found: ToCheck, results: list[CheckResult]) -> None:
        """Readers who miss it see the checks in the result. A shadow has no readers."""
        if not found.number:
            return
        try:
            for slot, result in enumerate(results, checked_slot(found.last_scored, found.number)):
                await self._log.decisions.publish(step.request_id, slot, Checked(**vars(result)))
        except TandemError as error:
            activity.logger.warning("the checks of stage %d were not published: %s", step.stage, error)


def _agreement(check: CheckSpec, step: Step, found: ToCheck) -> CheckResult:
    verdict, detail = agreement([*found.earlier_answers, found.answer], check)
    score = float(verdict == "pass")
    return CheckResult(check.name, step.stage, step.role, verdict, detail, score, 0.0, step.trial)
