"""The workflow is deterministic: histories of today and those recorded by earlier versions replay without a difference.

`make histories` records them again, after a change that is meant to break running requests.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tandem import InsightDelta, RequestError
from tests.integration.conftest import System
from workflows.solve import SolveWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")
RECORDED = Path(__file__).parents[1] / "histories"

SCENARIOS = {
    "sufficient": "[scores=16:0.9 slm_eos=5]",
    "stage_zero": "[scores=0:0.9 slm_eos=5]",
    "best_stage": "[scores=32:0.6,48:0.2 slm_eos=5]",
    "llm_finished": "[llm_eos=21]",
    "scorer_failed_open": "[fail=score slm_eos=5]",
    "llm_unavailable": "[fail=llm slm_eos=5]",
    "failed": "[fail=slm scores=0:0.9]",
    "cancelled": "[llm_hold=5]",
}


def replayer() -> Replayer:
    return Replayer(workflows=[SolveWorkflow])


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_history_of_today_replays(system: System, scenario: str) -> None:
    request_id, is_to_be_cancelled = f"{scenario}-{uuid4().hex}", scenario == "cancelled"
    try:
        async for event in system.client.solve(SCENARIOS[scenario], request_id=request_id):
            if is_to_be_cancelled and isinstance(event, InsightDelta) and event.tokens >= 3:
                is_to_be_cancelled = False
                await system.client.cancel(request_id)
    except RequestError:
        assert scenario == "failed"
    history = await system.temporal.get_workflow_handle(request_id).fetch_history()
    if os.environ.get("TANDEM_RECORD"):
        RECORDED.mkdir(exist_ok=True)
        anonymous = re.sub(r'"identity": "[^"]*"', '"identity": "recorder"', history.to_json())
        anonymous = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', anonymous)
        (RECORDED / f"{scenario}.json").write_text(anonymous + "\n")
    await replayer().replay_workflow(history)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_recorded_history_replays(scenario: str) -> None:
    recorded = (RECORDED / f"{scenario}.json").read_text()
    await replayer().replay_workflow(WorkflowHistory.from_json(scenario, recorded))
