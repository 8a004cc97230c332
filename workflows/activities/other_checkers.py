"""Checks of somebody's own behind gRPC: the answer checker's contract, at an address that the operator names."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import grpc

from services.shared.process.channels import open_channel
from services.shared.process.transport import PLAIN, Transport
from tandem.convert.outcomes import check_result_from_pb
from tandem.convert.requests import check_request_to_pb
from tandem.method.errors import TandemError
from tandem.method.evidence.checks import CheckResult, CheckSpec, Verdict
from tandem.method.request.tasks import CheckTask
from tandem.method.timeouts import Timeouts
from tandem.v1 import checking_pb2_grpc

_MOST_CHARACTERS = 1_000_000
_DETAIL_CHARACTERS = 4_000


class OtherCheckers:
    """`addresses` by the check's name. What one of them says wrong, too late or too long is that check's `error`: the
    request goes on.
    """

    def __init__(self, addresses: Mapping[str, str], transport: Transport = PLAIN) -> None:
        self._channels = {name: open_channel(address, transport) for name, address in addresses.items()}

    def has(self, name: str) -> bool:
        return name in self._channels

    async def check(self, checks: Sequence[CheckSpec], task: CheckTask) -> list[CheckResult]:
        """One result for each, in order."""
        return list(await asyncio.gather(*(self._one(check, task) for check in checks)))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    async def _one(self, check: CheckSpec, task: CheckTask) -> CheckResult:
        asked = replace(task, checks=[check])
        error = CheckResult(check.name, task.stage, task.role, Verdict.ERROR, trial=task.trial)
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
            found = check_result_from_pb(reply.results[0], task)
        except TandemError as unknown:
            return replace(error, detail=str(unknown))
        if not (math.isfinite(found.score) and math.isfinite(found.seconds) and found.seconds >= 0):
            return replace(error, detail="the checker's numbers are none")
        return replace(found, score=min(max(found.score, 0.0), 1.0), detail=found.detail[:_DETAIL_CHARACTERS])
