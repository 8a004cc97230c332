"""The timeouts of a real request, as Temporal recorded them, are each inside the next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tandem.method.timeouts import Timeouts
from tests.integration.asking import ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
NONE = timedelta(0)  # how a history says that there is none


async def test_the_recorded_timeouts_of_a_request_nest(system: System) -> None:
    result = await ask(system, "[scores=32:0.9 slm_eos=5]")
    history = await system.temporal.get_workflow_handle(result["request_id"]).fetch_history()
    workflow = history.events[0].workflow_execution_started_event_attributes.workflow_execution_timeout.ToTimedelta()
    assert workflow == Timeouts.workflow
    kinds = [(e.activity_task_scheduled_event_attributes, e) for e in history.events]
    activities: list[Any] = [a for a, e in kinds if e.HasField("activity_task_scheduled_event_attributes")]
    assert {a.activity_type.name for a in activities} >= {"generate_insight", "wait_and_score", "execute"}
    for each in activities:
        attempt = each.start_to_close_timeout.ToTimedelta()
        whole, heartbeat = each.schedule_to_close_timeout.ToTimedelta(), each.heartbeat_timeout.ToTimedelta()
        assert NONE < attempt < whole < workflow, each.activity_type.name
        assert NONE < heartbeat < attempt, each.activity_type.name
