"""The large model's activity."""

from __future__ import annotations

from dataclasses import replace

import grpc
from temporalio import activity

from services.observability.spans import Inference
from tandem.convert.outcomes import outcome_from_pb
from tandem.convert.requests import generate_request_to_pb
from tandem.method.tasks import GenerationOutcome, ModelTask
from tandem.method.timeouts import Timeouts
from tandem.v1 import insight_pb2_grpc
from workflows.activities.lost_usage import ReportedUsage
from workflows.activities.model_call import run_model_call


class InsightActivities:
    def __init__(self, generator: grpc.aio.Channel, reported: ReportedUsage) -> None:
        self._stub, self._reported = insight_pb2_grpc.InsightGeneratorStub(generator), reported

    @activity.defn
    async def generate_insight(self, task: ModelTask) -> GenerationOutcome:
        """Let the large model write until it ends or is stopped; a cancel returns what it has generated, exactly."""
        task = replace(task, epoch=activity.info().attempt)
        call = self._stub.Generate(generate_request_to_pb(task), timeout=Timeouts.attempt.total_seconds())
        inference = Inference("", "llm", task.request_id, task.epoch, task.prices)
        done = await run_model_call(call, self._stub, task, inference, self._reported)
        return outcome_from_pb(done.finished, done.counts, task.epoch)
