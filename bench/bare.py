"""Bare Temporal workflows with as many activities as one of ours has: what orchestration costs by itself.

`BareWorkflow`'s activities do nothing; `CallingWorkflow`'s are ours and call the models, so that it lacks what we add to that:
gateway and streams, the decision, the bill, the trace, what requests are found by. `python -m bench.bare TEMPORAL REDIS GENERATOR
SCORER EXECUTOR` is their worker; bench.scaling runs it beside the system, on the same servers.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from services.common.request_log import RequestLog
from workflows.activities import Activities, ServiceAddresses
from workflows.shared import AheadTask, AnswerTask, InsightTask, ScoreTask, SolveInput, Timeouts

QUEUE = "bench-bare"
SCORES = 4  # the question and three stages


@activity.defn
async def nothing(name: str) -> str:
    return name


@workflow.defn
class BareWorkflow:
    @workflow.run
    async def run(self, question: str) -> str:
        """The shape of ours where no stage suffices: one writes while the others are scored and read, one after the other."""
        insight = None
        ahead = []
        for stage in range(SCORES):
            await self._do("score")
            if stage == 0:
                insight = self._do("insight")
            if stage < SCORES - 1:
                ahead.append(self._do("ahead"))
        await asyncio.gather(*ahead, *([insight] if insight else []))
        return await self._do("execute")

    def _do(self, name: str) -> workflow.ActivityHandle[str]:
        return workflow.start_activity(nothing, name, start_to_close_timeout=timedelta(seconds=60))


@workflow.defn
class CallingWorkflow:
    @workflow.run
    async def run(self, task: SolveInput) -> str:
        """The same shape, with the calls that ours makes."""
        plan, about = task.plan, (task.request_id, task.question)
        insight = None
        ahead = []
        for stage in range(SCORES):
            await self._do(Activities.wait_and_score, ScoreTask(*about, stage, threshold=1.0, profile=plan.profile))
            if stage == 0:
                caps = [each.max_tokens for each in plan.stages]
                insight = self._do(Activities.generate_insight, InsightTask(*about, caps, task.sampling, plan.profile))
            if stage < SCORES - 1:
                ahead.append(self._do(Activities.read_ahead, AheadTask(*about, stage)))
        await asyncio.gather(*ahead, *([insight] if insight else []))
        answer = AnswerTask(*about, stage, plan.answer_max_tokens, task.sampling, plan.profile)
        return str((await self._do(Activities.execute, answer)).text)

    def _do(self, method: Any, task: Any) -> workflow.ActivityHandle[Any]:
        return workflow.start_activity_method(
            method, task, start_to_close_timeout=timedelta(seconds=60), heartbeat_timeout=Timeouts.heartbeat
        )


async def main(temporal: str, redis: str, *models: str) -> None:
    client = await Client.connect(temporal)
    ours = Activities(ServiceAddresses(*models), RequestLog(f"redis://{redis}", timedelta(minutes=5)))
    async with Worker(
        client, task_queue=QUEUE, workflows=[BareWorkflow, CallingWorkflow],
        activities=[nothing, ours.wait_and_score, ours.generate_insight, ours.read_ahead, ours.execute],
        workflow_runner=UnsandboxedWorkflowRunner(), max_concurrent_activities=500,
    ):  # fmt: skip
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
