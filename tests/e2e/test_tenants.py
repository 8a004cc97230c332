"""Tenants' accounts when real processes are killed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from services.shared.request_log.accounts import Standing
from services.shared.request_log.log import RequestLog
from tandem import Client, RequestError
from tandem.access.tenants import TenantFile
from tandem.client.request import solve_request
from tandem.local.supervisor import Stack
from tandem.method.request.charge import nano_usd
from tandem.v1 import tandem_pb2
from tests import stacks
from tests.conftest import Hold, wait_until

pytestmark = pytest.mark.timeout(900)
_NUM_REQUESTS = 4


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


def test_a_killed_gateway_and_worker_leave_no_hold_and_every_bill_is_on_the_account(tmp_path: Path, hold: Hold) -> None:
    file = TenantFile(tmp_path / "tenants.json")
    file.set("acme", {"usd_per_day": 10, "concurrent_requests": _NUM_REQUESTS})
    with stacks.scripted_stack({"TANDEM_TENANTS": str(file.path)}) as stack, Client(stack.gateway) as client:
        names = [uuid4().hex for _ in range(_NUM_REQUESTS)]
        question = f"[llm_hold=4:{hold} llm_eos=9 slm_eos=5]"
        for name in names:
            call = client._stub.Solve(solve_request(question, request_id=name, tenant="acme", keep_running=True))
            next(event for event in call if event.HasField("insight_delta"))
        assert _standing(stack, "acme").concurrent_requests == _NUM_REQUESTS
        for process in ("gateway", "worker"):
            stacks.kill(stack, process)
        hold.release()
        stacks.heal(stack)
        bills = []
        for name in names:
            wait_until(lambda: _is_completed(client, name))  # noqa: B023
            bills.append(nano_usd(client.get(name).result.cost.usd))
        standing = _standing(stack, "acme")
        assert (standing.concurrent_requests, standing.usd_per_day) == (0, sum(bills))
        assert client.ask("[scores=0:0.9 slm_eos=5]", tenant="acme").answer
