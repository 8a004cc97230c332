"""Tenants' accounts when real processes are killed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.shared.request_log.accounts import Standing
from services.shared.request_log.log import RequestLog
from tandem import Client, RequestError
from tandem.client.request import solve_request
from tandem.local.supervisor import Stack
from tandem.method.request.charge import nano_usd
from tandem.v1 import tandem_pb2
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import LocalStack

pytestmark = pytest.mark.timeout(900)
_NUM_REQUESTS = 4  # as many as the tenant may have at once


def _standing(stack: Stack, tenant: str) -> Standing:
    async def read() -> Standing:
        log = RequestLog(f"redis://{stack.address('redis')}/0", timedelta(minutes=1))
        try:
            return await log.accounts.standing(tenant, datetime.now(UTC))
        finally:
            await log.close()

    return asyncio.run(read())


def _is_completed(client: Client, name: str) -> bool:
    """False while the connection to the gateway that was killed is not renewed."""
    try:
        return client.get(name).state == tandem_pb2.REQUEST_STATE_COMPLETED
    except RequestError as error:
        if not error.is_connection_lost:
            raise
        return False


def test_a_killed_gateway_and_worker_leave_no_hold_and_every_bill_is_on_the_account(
    local: LocalStack, hold: Hold
) -> None:
    with Client(local.stack.gateway) as client:
        spent = _standing(local.stack, "acme").usd_per_day
        names = [uuid4().hex for _ in range(_NUM_REQUESTS)]
        question = f"[llm_hold=4:{hold} llm_eos=9 slm_eos=5]"
        for name in names:
            call = client._stub.Solve(solve_request(question, request_id=name, tenant="acme", keep_running=True))
            next(event for event in call if event.HasField("insight_delta"))
        assert _standing(local.stack, "acme").concurrent_requests == _NUM_REQUESTS
        for process in ("gateway", "worker"):
            local.kill(process)
        hold.release()
        local.heal()
        bills = []
        for name in names:
            wait_until(lambda: _is_completed(client, name))  # noqa: B023
            bills.append(nano_usd(client.get(name).result.cost.usd))
        standing = _standing(local.stack, "acme")
        assert (standing.concurrent_requests, standing.usd_per_day) == (0, spent + sum(bills))
        assert client.ask("[scores=0:0.9 slm_eos=5]", tenant="acme").answer
