"""The checker's activity: have an answer checked, and publish what the checks said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
from temporalio import activity

from services.shared.request_log.decisions import checked_slot
from services.shared.request_log.log import RequestLog
from tandem.convert.outcomes import check_result_from_pb
from tandem.convert.requests import check_request_to_pb
from tandem.method.errors import TandemError
from tandem.method.evidence.checks import AGREEMENT, CheckResult, CheckSpec, agreement
from tandem.method.request.events import Checked
from tandem.method.request.tasks import CheckTask
from tandem.method.timeouts import Timeouts
from tandem.v1 import checking_pb2_grpc
from workflows.activities.attempts import application_error, heartbeating
from workflows.activities.other_checkers import OtherCheckers


class CheckingActivities:
    def __init__(self, checker: grpc.aio.Channel, log: RequestLog, others: OtherCheckers) -> None:
        self._stub, self._log, self._others = checking_pb2_grpc.AnswerCheckerStub(checker), log, others

    @activity.defn
    async def check(self, task: CheckTask) -> list[CheckResult]:
        """One result for each check: the answer checker's, others', and agreement. A cancel ends the checks in the
        service.
        """
        others = [check for check in task.checks if self._others.has(check.name)]
        own = [check for check in task.checks if check.name != AGREEMENT and not self._others.has(check.name)]
        async with heartbeating():
            found = await asyncio.gather(self._run(own, task), self._others.check(others, task))
        results = [*found[0], *found[1]]
        results += [_agreement(check, task) for check in task.checks if check.name == AGREEMENT]
        await self._publish(task, results)
        return results

    async def _run(self, checks: list[CheckSpec], task: CheckTask) -> list[CheckResult]:
        if not checks:
            return []
        request = check_request_to_pb(replace(task, checks=checks))
        try:
            response = await self._stub.Check(request, timeout=Timeouts.check_call.total_seconds())
        except grpc.aio.AioRpcError as error:
            raise application_error(error, None) from error
        return [check_result_from_pb(result, task) for result in response.results]

    async def _publish(self, task: CheckTask, results: list[CheckResult]) -> None:
        """Readers who miss it see the checks in the result. A shadow has no readers."""
        if not task.number:
            return
        try:
            for slot, result in enumerate(results, checked_slot(task.last_scored, task.number)):
                await self._log.decisions.publish(task.request_id, slot, Checked(**vars(result)))
        except TandemError as error:
            activity.logger.warning("the checks of stage %d were not published: %s", task.stage, error)


def _agreement(check: CheckSpec, task: CheckTask) -> CheckResult:
    verdict, detail = agreement([*task.earlier_answers, task.answer], check)
    score = float(verdict == "pass")
    return CheckResult(check.name, task.stage, task.role, verdict, detail, score, 0.0, task.trial)
