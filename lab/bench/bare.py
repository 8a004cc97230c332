"""Two bare Temporal workflows with as many activities as ours has: the cost of orchestration alone.

The activities of `BareWorkflow` do nothing. Those of `CallingWorkflow` are ours and call the models, so it lacks only
what we add to that: gateway and streams, decision, bill, trace, search attributes. `python -m lab.bench.bare TEMPORAL
REDIS GENERATOR SCORER EXECUTOR` is their worker; bench.scaling runs it beside the system, on the same servers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from services.shared.request_log.log import RequestLog
from tandem.method.profile.prices import RolePrices
from tandem.method.request.job import Job
from tandem.method.request.tasks import Ahead
from tandem.method.roles import LLM, SCORER, SLM
from tandem.method.timeouts import Timeouts
from workflows.activities.jobs import remember
from workflows.activities.models import AnswerActivities, InsightActivities
from workflows.activities.registry import Activities, ServiceAddresses
from workflows.activities.scoring import ScoringActivities

QUEUE = "bench-bare"
SCORES = 4  # the question and three stages
_TIMEOUT = timedelta(seconds=60)


@activity.defn
async def nothing(name: str) -> str:
    return name


Start = Callable[[str, int], workflow.ActivityHandle[Any]]


async def _run_activities(start: Start) -> Any:
    """The activities of a request that no stage is sufficient for: the insight runs beside the scores, which prefill
    the stage before.
    """
    await start("score", 0)
    insight = start("insight", 0)
    for stage in range(1, SCORES):
        await start("score", stage)
    await insight
    return await start("execute", SCORES - 1)


@workflow.defn
class BareWorkflow:
    @workflow.run
    async def run(self, question: str) -> str:
        def start(name: str, stage: int) -> workflow.ActivityHandle[Any]:
            return workflow.start_activity(nothing, name, start_to_close_timeout=_TIMEOUT)

        return str(await _run_activities(start))


@workflow.defn
class CallingWorkflow:
    @workflow.run
    async def run(self, task: Job) -> str:
        caps = tuple(stage.max_tokens for stage in task.plan.stages)
        remember(workflow.info().run_id, task)
        activities: dict[str, tuple[Any, str, tuple[int, ...]]] = {
            "score": (ScoringActivities.wait_and_score, SCORER, ()),
            "insight": (InsightActivities.generate_insight, LLM, caps),
            "execute": (AnswerActivities.execute, SLM, (task.plan.answer_max_tokens,)),
        }

        def start(name: str, stage: int) -> workflow.ActivityHandle[Any]:
            activity, role, max_tokens = activities[name]
            arguments: list[Any] = [task.step(role, stage=stage, max_tokens=max_tokens)]
            if name == "score":
                arguments += [1.0, Ahead(stage - 1, RolePrices()) if stage else None]
            return workflow.start_activity_method(
                activity, args=arguments, start_to_close_timeout=_TIMEOUT, heartbeat_timeout=Timeouts.heartbeat
            )

        return str((await _run_activities(start)).text)


async def main(temporal: str, redis: str, *models: str) -> None:
    client = await Client.connect(temporal)
    ours = Activities(
        ServiceAddresses(models[0], models[1], models[2]), RequestLog(f"redis://{redis}", timedelta(minutes=5))
    )
    async with Worker(
        client, task_queue=QUEUE, workflows=[BareWorkflow, CallingWorkflow],
        activities=[nothing, *ours.of_llm_queue(), *ours.of_solve_queue()],
        workflow_runner=UnsandboxedWorkflowRunner(), max_concurrent_activities=500,
    ):  # fmt: skip
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
