"""Tenants take turns where work waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from services.gateway.readers import Limits
from services.shared.identity import turns
from tandem.client.request import solve_request
from tandem.method.names import llm_queue
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS
from tests.integration.tenants.limiting import Limited, served, until
from workflows.worker import WorkerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_tenant_that_comes_last_does_not_wait_for_all_of_anothers_requests(
    limited: Limited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited.system.service._readers, "_limits", Limits(256, timedelta(milliseconds=200)))
    first, second = Hold(tmp_path / "first"), Hold(tmp_path / "second")
    num_slots = WorkerSettings().max_llm
    loud, quiet = limited.tenant(), limited.tenant()
    llm, names = limited.system.llm, []

    async def detach(hold: Hold) -> None:
        names.append(uuid4().hex)
        request = solve_request(
            f"[llm_hold=2:{hold} llm_eos=3 slm_eos=2]", request_id=names[-1], tenant=loud, keep_running=True
        )
        await anext(aiter(limited.system.client._stub.Solve(request)))

    try:
        for _ in range(num_slots):
            await detach(first)
        await _running(limited, num_slots)
        for _ in range(num_slots + 4):
            await detach(second)
        # All of the large model's slots are taken twice over by the loud one's, of which the second half waits.
        last = uuid4().hex
        waiting = asyncio.create_task(served(limited, quiet, "[llm_eos=3 slm_eos=2]", request_id=last))
        for name in (*names[num_slots:], last):
            await _waits_for_slot(limited, name)
        await _backlog(limited, num_slots + 5)
        first.release()
        assert (await asyncio.wait_for(waiting, BOUND_SECONDS))["answer"]
        assert llm.running
    finally:
        first.release()
        second.release()
    for name in names:
        await until(lambda: limited.system.client.get(name), lambda r: r.state == tandem_pb2.REQUEST_STATE_COMPLETED)  # noqa: B023


async def test_a_flood_waits_before_temporal_and_another_tenant_is_served_at_once(
    limited: Limited, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AFTER_SIGN_SECONDS", BOUND_SECONDS)
    most = 4
    monkeypatch.setattr(limited.system.service, "_turns", turns.Turns(most))
    loud, quiet = limited.tenant(), limited.tenant()
    question = f"[llm_hold=2:{hold} llm_eos=3 slm_eos=2]"
    flood = [asyncio.create_task(served(limited, loud, question)) for _ in range(5 * most)]
    await _running(limited, most)
    for _ in range(3):
        assert (await asyncio.wait_for(served(limited, quiet), BOUND_SECONDS))["answer"]
    assert len(limited.system.llm.running) == most
    assert len((await limited.system.client.list(f"tenant = '{loud}'")).requests) == most
    hold.release()
    assert all(reply["answer"] for reply in await asyncio.gather(*flood))


async def test_a_call_that_says_it_resumes_waits_for_its_turn_unless_its_request_has_begun(
    limited: Limited, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AFTER_SIGN_SECONDS", BOUND_SECONDS)
    taken = turns.Turns(1)
    monkeypatch.setattr(limited.system.service, "_turns", taken)
    loud, client = limited.tenant(), limited.system.client
    names, question = [uuid4().hex for _ in range(4)], f"[llm_hold=2:{hold} llm_eos=3 slm_eos=2]"

    async def resumed(name: str) -> tandem_pb2.SolveEvent:
        """The last event of a call that names the cursor before the first one."""
        request = solve_request(question, request_id=name, tenant=loud)
        request.resume_after = "0.0.0"
        return [event async for event in client._stub.Solve(request)][-1]

    first = asyncio.create_task(served(limited, loud, question, request_id=names[0]))
    await _running(limited, 1)
    others = [asyncio.create_task(resumed(name)) for name in names[1:]]

    async def waiting() -> int:
        return len(taken._waiting[loud])

    await until(waiting, lambda found: found == len(others))
    assert len((await client.list(f"tenant = '{loud}'")).requests) == 1
    joined = asyncio.create_task(resumed(names[0]))
    hold.release()
    assert (await first)["answer"] == (await asyncio.wait_for(joined, BOUND_SECONDS)).completed.answer
    assert all(event.completed.answer for event in await asyncio.gather(*others))
    for name in (names[0], uuid4().hex):  # what a turn whose caller has gone waits for
        await asyncio.wait_for(limited.system.service._readers.sign_of_work(name), BOUND_SECONDS)


async def _waits_for_slot(limited: Limited, request_id: str) -> None:
    """The request's insight is scheduled, and has no slot."""
    handle = limited.system.temporal.get_workflow_handle(request_id)

    async def pending() -> set[tuple[str, int]]:
        try:
            found = (await handle.describe()).raw_description.pending_activities
        except RPCError:  # it has not begun
            return set()
        return {(each.activity_type.name, each.state) for each in found}

    await until(
        pending, lambda found: ("generate_insight", PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED) in found
    )


async def _backlog(limited: Limited, number: int) -> None:
    """About so many insights wait in Temporal's queue: the count may be above what waits."""
    temporal, [profile] = limited.system.temporal, limited.system.service._admission.profiles
    queue = DescribeTaskQueueRequest(
        namespace=temporal.namespace,
        task_queue=TaskQueue(name=llm_queue(profile)),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )

    async def waiting() -> int:
        return (await temporal.workflow_service.describe_task_queue(queue)).stats.approximate_backlog_count

    await until(waiting, lambda found: found >= number)


async def _running(limited: Limited, number: int) -> None:
    async def running() -> int:
        return len(limited.system.llm.running)

    await until(running, lambda found: found == number)
