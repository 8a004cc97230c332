"""A Temporal workflow with as many activities as one of ours has, which do nothing: what orchestration costs by itself.

`python -m bench.bare ADDRESS` is its worker; bench.scaling runs it beside the system, on the same Temporal server.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

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


async def main(address: str) -> None:
    client = await Client.connect(address)
    async with Worker(
        client, task_queue=QUEUE, workflows=[BareWorkflow], activities=[nothing],
        workflow_runner=UnsandboxedWorkflowRunner(), max_concurrent_activities=500,
    ):  # fmt: skip
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
