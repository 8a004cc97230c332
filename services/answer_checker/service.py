"""tandem.v1.AnswerChecker: convert, call, convert."""

from __future__ import annotations

from typing import Any

import grpc

from services.answer_checker.checker import AnswerChecker
from services.shared.checks.registry import checks
from services.shared.process.callers import Callers
from tandem.convert.messages import to_pb
from tandem.convert.requests import check_task_from_pb
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

NAME = checking_pb2.DESCRIPTOR.services_by_name["AnswerChecker"].full_name
CALLERS = Callers.only("worker")


class AnswerCheckerService(checking_pb2_grpc.AnswerCheckerServicer):
    def __init__(self, checker: AnswerChecker) -> None:
        self._checker = checker

    async def Check(
        self, request: checking_pb2.CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> checking_pb2.CheckResponse:
        results = await self._checker.check(check_task_from_pb(request))
        return checking_pb2.CheckResponse(results=[to_pb(result, tandem_pb2.CheckResult) for result in results])

    async def GetCheckerInfo(
        self, request: checking_pb2.GetCheckerInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> checking_pb2.GetCheckerInfoResponse:
        return checking_pb2.GetCheckerInfoResponse(checks=sorted(checks()), isolation=self._checker.isolation)
