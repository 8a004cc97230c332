"""The scorer's activities: wait for a stage, have it scored, publish the score.

The messages of the Open Inference Protocol are generated from KServe's .proto (protos/inference, `make protos`),
because `import kserve` brings a web framework and a data frame library: two seconds of processor time at each start of
a worker, and 37 packages.
"""

from __future__ import annotations

import asyncio
import json

import grpc
from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.shared.request_log.decisions import scored_slot
from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from tandem.method.errors import FailedPrecondition, TandemError
from tandem.method.request.events import Scored
from tandem.method.request.job import Step
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import Ahead, StageScore
from tandem.method.rule.stop_rule import is_sufficient
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts
from tandem.method.usage import total
from workflows.activities import grpc_predict_v2_pb2 as oip
from workflows.activities.attempts import application_error, heartbeating, run_to_end
from workflows.activities.jobs import current_job
from workflows.activities.model_call import place_of
from workflows.activities.prefill_ahead import PrefillAhead, PrefillsAhead

_MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


def model_infer(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryUnaryMultiCallable[oip.ModelInferRequest, oip.ModelInferResponse]:
    """The call that has a model score."""
    return channel.unary_unary(
        _MODEL_INFER,
        request_serializer=oip.ModelInferRequest.SerializeToString,
        response_deserializer=oip.ModelInferResponse.FromString,
    )


class ScoringActivities:
    def __init__(self, scorer: grpc.aio.Channel, log: RequestLog, prefills_ahead: PrefillsAhead) -> None:
        self._infer, self._log, self._prefills_ahead = model_infer(scorer), log, prefills_ahead

    @activity.defn
    async def wait_and_score(self, step: Step, threshold: float, ahead: Ahead | None = None) -> StageScore:
        """Block until the stage is written, then ask the scorer; `ended` when the insight ends before. Prefill `ahead`
        meanwhile.
        """
        prefill = await self._prefills_ahead.begin(step, ahead)
        async with heartbeating():
            score = await prefill.beside(self._when_written(step, prefill), step.stage)
            if not score.ended:
                score = await self._scored(step, score, prefill)
                await self._publish(step.request_id, score, threshold)
            return prefill.with_prefill(score)

    @activity.defn
    async def wait_for_stage(self, step: Step, ahead: Ahead | None = None) -> StageScore:
        """Block until the stage is written; `ended` when the insight ends before. Nothing is scored. Prefill `ahead`
        meanwhile.
        """
        prefill = await self._prefills_ahead.begin(step, ahead)
        async with heartbeating():
            return prefill.with_prefill(await prefill.beside(self._when_written(step, prefill), step.stage))

    @activity.defn
    async def all_scoring_passes(self, request_id: str) -> TokenCounts:
        """Counts of all the request's scoring passes, including those whose result was lost."""
        return total(await self._log.ledger.all_passes(request_id, Pass.SCORER))

    async def _scored(self, step: Step, written: StageScore, prefill: PrefillAhead) -> StageScore:
        request = (await current_job()).request
        try:
            limit, place = Timeouts.score_call.total_seconds(), place_of(request, step)
            response = await run_to_end(self._infer(infer_request(request, step), timeout=limit, metadata=place))
        except grpc.aio.AioRpcError as error:
            raise application_error(error, prefill.with_prefill(written)) from error
        return stage_score(response, step.stage, written.tokens, written.epoch)

    async def _when_written(self, step: Step, prefill: PrefillAhead) -> StageScore:
        """Tokens at the end of the stage and the epoch that wrote it; `ended` when the insight ended before."""
        if not step.stage:
            return StageScore(0)
        try:
            async for transcript in self._log.streams.follow_stages(step.request_id):
                if activity.is_cancelled():  # where Redis's client has lost the cancel: wait_for of Python 3.11 may
                    raise asyncio.CancelledError
                if step.stage in transcript.stage_ends:
                    return StageScore(step.stage, transcript.stage_ends[step.stage], epoch=transcript.epoch)
                if transcript.is_complete:
                    return StageScore(step.stage, ended=True)
        except TandemError as error:
            is_final = isinstance(error, FailedPrecondition)
            found = prefill.with_prefill(StageScore(step.stage))
            raise ApplicationError(str(error), found, type=error.reason, non_retryable=is_final) from error
        raise AssertionError("follow_stages does not end")

    async def _publish(self, request_id: str, score: StageScore, threshold: float) -> None:
        """Readers who miss it see the score in the result."""
        is_enough = is_sufficient(score.score, threshold)
        scored = Scored(score.stage, score.score, threshold, is_enough, score.scorer, score.trained)
        try:
            await self._log.decisions.publish(request_id, scored_slot(score.stage), scored)
        except TandemError as error:
            activity.logger.warning("the score of stage %d was not published: %s", score.stage, error)


def infer_request(request: SolveRequest, step: Step) -> oip.ModelInferRequest:
    tensor, contents = oip.ModelInferRequest.InferInputTensor, oip.InferTensorContents
    texts = {"question": request.question, "request_id": step.request_id}
    parameters = {
        "task": request.task,
        "json_schema": request.json_schema,
        "history": json.dumps([[message.speaker, message.text] for message in request.history]),
        "profile_digest": step.profile_digest,
    }
    if step.prices.is_known:
        parameters |= {
            "price_input": repr(step.prices.input),
            "price_cached_input": repr(step.prices.cached_input),
        }
    return oip.ModelInferRequest(
        model_name="sufficiency",
        id=f"{step.request_id}/{step.stage}",
        parameters={name: oip.InferParameter(string_param=value) for name, value in parameters.items()},
        inputs=[
            *(
                tensor(name=name, datatype="BYTES", shape=[1], contents=contents(bytes_contents=[text.encode()]))
                for name, text in texts.items()
            ),
            tensor(name="stage", datatype="INT32", shape=[1], contents=contents(int_contents=[step.stage])),
        ],
    )


def stage_score(response: oip.ModelInferResponse, stage: int, tokens: int, epoch: int) -> StageScore:
    outputs = {output.name: output.contents for output in response.outputs}
    parameters = response.parameters
    return StageScore(
        stage=stage,
        tokens=tokens,
        score=outputs["score"].fp32_contents[0],
        epoch=epoch,
        scorer=parameters["scorer"].string_param,
        trained=parameters["trained"].bool_param,
        scored=TokenCounts(outputs["tokens_scored"].int64_contents[0], outputs["tokens_cached"].int64_contents[0]),
        all_scored=TokenCounts(parameters["request_scored"].int64_param, parameters["request_cached"].int64_param),
    )
