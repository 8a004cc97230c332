"""The stage scorer as a KServe model: Open Inference Protocol v2, `inference.GRPCInferenceService/ModelInfer`.

Inputs, one element each: `question` BYTES, and either `request_id` BYTES with `stage` INT32 (the insight comes from the
request log) or `insight` BYTES (for any other client; `stage` defaults to 1, or to 0 for an empty insight).
Request parameters, all optional: `task` (answer, code or chat), `json_schema`, `history` (what was said before the
question: a JSON list of [speaker, text]), `price_input` and `price_cached_input` (USD per million tokens,
for the span's cost), `profile_digest` (refused with PROFILE_MISMATCH unless it is a served profile's).
Outputs: `score` FP32[1], `features` FP32[16], `tokens_scored` INT64[1], `tokens_cached` INT64[1]. Response parameters:
the scorer, whether it is trained, its model, and `request_scored` and `request_cached`, the tokens of all passes of the
request.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.protocol.grpc import grpc_predict_v2_pb2
from pydantic import TypeAdapter, ValidationError

from services.shared.observability.spans import Inference, describe_scoring
from services.shared.observability.tracing import tracer
from services.shared.process.callers import Callers
from services.sufficiency_scorer.stage_scorer import StageAssessment, StageScorer, StageScorers
from tandem.method.conversation import TASKS, Message, Speaker, Task
from tandem.method.errors import InvalidArgument
from tandem.method.problems import problems
from tandem.method.profile.prices import UNKNOWN, RolePrices
from tandem.method.request.request import SolveRequest
from tandem.method.roles import SCORER

NAME = grpc_predict_v2_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
MODEL_NAME = "sufficiency"
CALLERS = Callers.only("worker")
_HISTORY = TypeAdapter(list[tuple[Speaker, str]])


class SufficiencyModel(Model):  # type: ignore[misc]
    """`scorers` are those of the profiles that have the model in common."""

    def __init__(self, scorers: StageScorers, model: str) -> None:
        super().__init__(MODEL_NAME)
        self.scorers, self._model = scorers, model
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> InferResponse:
        scorer = await self.scorers.of(_parameter(payload, "profile_digest"))
        # A disconnecting caller does not cancel the pass: it is computed anyway, so it must be counted and reported.
        return self._response(
            payload, scorer, await asyncio.shield(asyncio.ensure_future(self._assess(payload, scorer)))
        )

    async def _assess(self, payload: InferRequest, scorer: StageScorer) -> StageAssessment:
        inputs = {tensor.name: tensor for tensor in payload.inputs}
        is_logged = "request_id" in inputs
        request = SolveRequest(
            _text(inputs, "request_id") if is_logged else uuid4().hex,
            _text(inputs, "question"),
            task=_task(payload),
            json_schema=_parameter(payload, "json_schema"),
            history=_history(payload),
        )
        with tracer.start_as_current_span(f"evaluate {self._model}") as span:
            if is_logged:
                stage = _stage(inputs)
                assessment = await scorer.score_stage(request, stage)
            else:
                insight = _text(inputs, "insight")
                stage = _stage(inputs) if "stage" in inputs else int(bool(insight))
                assessment = await scorer.score(request, insight, stage)
            inference = Inference(self._model, SCORER, request.request_id, 1, _prices(payload))
            describe_scoring(span, inference, stage, assessment.score, assessment.tokens)
        return assessment

    def _response(self, request: InferRequest, by: StageScorer, assessment: StageAssessment) -> InferResponse:
        scorer = by.scorer
        return InferResponse(
            response_id=request.id,
            model_name=MODEL_NAME,
            infer_outputs=[
                InferOutput("score", [1], "FP32", [assessment.score]),
                InferOutput("features", [len(assessment.features)], "FP32", assessment.features.tolist()),
                InferOutput("tokens_scored", [1], "INT64", [assessment.tokens.prompt]),
                InferOutput("tokens_cached", [1], "INT64", [assessment.tokens.cached]),
            ],
            parameters={
                "scorer": scorer.name,
                "trained": scorer.trained,
                "model": self._model,
                "request_scored": assessment.request_tokens.prompt,
                "request_cached": assessment.request_tokens.cached,
            },
            from_grpc=request.from_grpc,
        )


def _parameter(request: InferRequest, name: str, default: str = "") -> str:
    """Return a request parameter as text. gRPC wraps it in a message, and knows no floating-point numbers."""
    given = (request.parameters or {}).get(name, default)
    return str(getattr(given, "string_param", given))


def _task(request: InferRequest) -> Task:
    """Raises InvalidArgument."""
    name = _parameter(request, "task", "answer")
    for task in TASKS:
        if name == task:
            return task
    raise InvalidArgument(f"parameter 'task' must be {', '.join(TASKS)}, got {name!r}", field="parameters")


def _history(request: InferRequest) -> list[Message]:
    """Raises InvalidArgument."""
    try:
        given = _HISTORY.validate_json(_parameter(request, "history", "[]"))
        return [Message(speaker, text) for speaker, text in given]
    except ValidationError as error:
        raise InvalidArgument(
            f"parameter 'history' is no list of [speaker, text]: {problems(error)}", field="parameters"
        ) from error


def _prices(request: InferRequest) -> RolePrices:
    """Return USD per million tokens; not known where not given. Raises InvalidArgument."""
    given = [_parameter(request, name, "") for name in ("price_input", "price_cached_input")]
    try:
        return RolePrices(float(given[0]), float(given[1])) if all(given) else UNKNOWN
    except ValueError as error:
        raise InvalidArgument(f"a price must be a number: {error}", field="parameters") from error


def _text(inputs: dict[str, InferInput], name: str) -> str:
    if name not in inputs or inputs[name].datatype != "BYTES":
        raise InvalidArgument(f"input {name!r} is missing or not BYTES", field=name)
    value = inputs[name].as_numpy().reshape(-1)
    if len(value) != 1:
        raise InvalidArgument(f"input {name!r} needs exactly one element, got {len(value)}", field=name)
    return value[0].decode() if isinstance(value[0], bytes) else str(value[0])


def _stage(inputs: dict[str, InferInput]) -> int:
    value = inputs["stage"].as_numpy().reshape(-1) if "stage" in inputs else []
    if len(value) != 1 or value[0] < 0:
        raise InvalidArgument("input 'stage' needs exactly one element, 0 or more", field="stage")
    return int(value[0])
