"""The workflow is deterministic: histories of today and those recorded by earlier versions replay without a difference.

`make histories` records them again, after a change that is meant to break running requests.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from services.shared.process.temporal import NOT_ENCRYPTED
from tandem import InsightDelta, RequestError
from tandem.client.request import Question
from tests.integration.conftest import CheckedSystems, System
from workflows.solve import SolveWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")
RECORDED = Path(__file__).parents[1] / "histories"


@dataclass(frozen=True)
class Scenario:
    """A question to a system that serves `profile`; empty: the one without checks."""

    question: Question
    profile: str = ""
    checks: tuple[str, ...] = ()


_YES = "[slm=yes slm_eos=4 llm=no llm_eos=3]"
SCENARIOS = {
    "sufficient": Scenario("[scores=16:0.9 slm_eos=5]"),
    "stage_zero": Scenario("[scores=0:0.9 slm_eos=5]"),
    "best_stage": Scenario("[scores=32:0.6,48:0.2 slm_eos=5]"),
    "llm_finished": Scenario("[llm_eos=21]"),
    "scorer_failed_open": Scenario("[fail=score slm_eos=5]"),
    "llm_unavailable": Scenario("[fail=llm slm_eos=5]"),
    "failed": Scenario("[fail=slm scores=0:0.9]"),
    "cancelled": Scenario("[llm_hold=5]"),
    "verified": Scenario(_YES, "scripted-checked", ("choice:yes",)),
    "unverified_best": Scenario(_YES, "scripted-checked", ("choice:maybe",)),
    "repaired": Scenario("[slm=bad slm_eos=4 repaired=good llm=no llm_eos=3]", "scripted-repairing", ("choice:goo",)),
    "overlapped": Scenario("[slm=yes slm_eos=4 llm_hold=8]", "scripted-overlapped", ("choice:yes",)),
    "conversation": Scenario(
        [
            {"role": "user", "content": "[scores=16:0.9 slm_eos=5]"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "And?"},
        ]
    ),
    "second": Scenario(
        "[slm=bad slm_eos=4 second=good second_eos=5 llm=no llm_eos=3]", "scripted-second", ("choice:good",)
    ),
    "agreeing": Scenario("[slm=yes slm_eos=4 llm_hold=40]", "scripted-later", ("agreement",)),
    "together": Scenario("[slm=18 slm_eos=3 second=18.0 second_eos=5 llm=no llm_eos=3]", "scripted-together"),
    "apart": Scenario("[slm=18 slm_eos=3 second=17 second_eos=3 llm=no llm_eos=3]", "scripted-together"),
}


def anonymous(history: WorkflowHistory) -> str:
    """The history as JSON, without what names this machine."""
    text = re.sub(r'"identity": "[^"]*"', '"identity": "recorder"', history.to_json())
    return re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', text) + "\n"


def replayer() -> Replayer:
    return Replayer(workflows=[SolveWorkflow], data_converter=NOT_ENCRYPTED)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_history_of_today_replays(system: System, checked_systems: CheckedSystems, name: str) -> None:
    scenario, request_id, is_to_be_cancelled = SCENARIOS[name], f"{name}-{uuid4().hex}", name == "cancelled"
    asked = await checked_systems(scenario.profile) if scenario.profile else system
    try:
        async for event in asked.client.solve(scenario.question, request_id=request_id, checks=scenario.checks):
            if is_to_be_cancelled and isinstance(event, InsightDelta) and event.tokens >= 3:
                is_to_be_cancelled = False
                await asked.client.cancel(request_id)
    except RequestError:
        assert name == "failed"
    history = await asked.temporal.get_workflow_handle(request_id).fetch_history()
    if os.environ.get("TANDEM_RECORD"):
        (RECORDED / f"{name}.json").write_text(anonymous(history))
    await replayer().replay_workflow(history)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_history_replays(name: str) -> None:
    recorded = (RECORDED / f"{name}.json").read_text()
    await replayer().replay_workflow(WorkflowHistory.from_json(name, recorded))
