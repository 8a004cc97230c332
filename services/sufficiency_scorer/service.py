"""The stage scorer as a KServe model: Open Inference Protocol v2, `inference.GRPCInferenceService/ModelInfer`.

Inputs, one element each: `question` BYTES, and either `request_id` BYTES with `stage` INT32 (the insight comes from the
request log) or `insight` BYTES (for any other client; `stage` defaults to 1, or to 0 for an empty insight).
Request parameters, all optional: `task` (answer, code or chat), `json_schema`, `history` (what was said before the question: a JSON
list of [speaker, text]), `price_input` and `price_cached_input` (USD per million tokens,
for the span's cost), `profile_digest` (refused with PROFILE_MISMATCH unless it is a served profile's).
Outputs: `score` FP32[1], `features` FP32[16], `tokens_scored` INT64[1], `tokens_cached` INT64[1]. Response parameters: the
scorer, whether it is trained, its model, and `request_scored` and `request_cached`, the tokens of all passes of the request.
KServe's own gRPC server lacks health, reflection, tracing and error details, so ScorerServer replaces it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from pydantic import TypeAdapter, ValidationError

from services.observability.spans import Inference, describe_scoring
from services.observability.tracing import server_interceptors, tracer
from services.process.callers import Callers
from services.process.health_port import HealthPort
from services.process.interceptors import ErrorInterceptor
from services.process.server import SERVER_OPTIONS, add_health, add_reflection, set_health
from services.process.slow_readers import SlowReaderInterceptor
from services.process.transport import PLAIN
from services.sufficiency_scorer.stage_scorer import StageAssessment, StageScorer
from services.sufficiency_scorer.stage_scorers import StageScorers
from tandem.method.conversation import TASKS, Message, Speaker, Task
from tandem.method.errors import InvalidArgument
from tandem.method.prices import RolePrices

NAME = grpc_predict_v2_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
MODEL_NAME = "sufficiency"
CALLERS = Callers.only("worker")
_HEALTH_INTERVAL_SECONDS = 1.0
_HISTORY = TypeAdapter(list[tuple[Speaker, str]])


class SufficiencyModel(Model):  # type: ignore[misc]
    """`scorers` are those of the profiles that have the model in common."""

    def __init__(self, scorers: StageScorers, model: str) -> None:
        super().__init__(MODEL_NAME)
        self._scorers, self._model = scorers, model
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> InferResponse:
        scorer = await self._scorers.of(_parameter(payload, "profile_digest"))
        # A disconnecting caller does not cancel the pass: it is computed anyway, so it must be counted and reported.
        return self._response(
            payload, scorer, await asyncio.shield(asyncio.ensure_future(self._assess(payload, scorer)))
        )

    async def _assess(self, payload: InferRequest, scorer: StageScorer) -> StageAssessment:
        inputs = {tensor.name: tensor for tensor in payload.inputs}
        question, task = _text(inputs, "question"), _task(payload)
        schema, history = _parameter(payload, "json_schema"), _history(payload)
        with tracer.start_as_current_span(f"evaluate {self._model}") as span:
            if "request_id" in inputs:
                request_id, stage = _text(inputs, "request_id"), _stage(inputs)
                assessment = await scorer.score_stage(request_id, stage, question, task, schema, history)
            else:
                insight = _text(inputs, "insight")
                request_id, stage = uuid4().hex, _stage(inputs) if "stage" in inputs else int(bool(insight))
                assessment = await scorer.score(request_id, question, insight, stage, task, schema, history)
            inference = Inference(self._model, "scorer", request_id, 1, _prices(payload))
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
    """A request parameter as text. gRPC wraps it in a message, and knows no floating-point numbers."""
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
            f"parameter 'history' is no list of [speaker, text]: {error}", field="parameters"
        ) from error


def _prices(request: InferRequest) -> RolePrices:
    """USD per million tokens; 0 where not given. Raises InvalidArgument."""
    try:
        return RolePrices(*(float(_parameter(request, name, "0")) for name in ("price_input", "price_cached_input")))
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


class ClosedRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """The model of this process lives as long as the process: a caller that unloads it would switch the scorer off for all."""

    async def load(self, model_name: str) -> None:
        raise InvalidInput("this server's model cannot be loaded by a caller")

    async def unload(self, model_name: str) -> None:
        raise InvalidInput("this server's model cannot be unloaded by a caller")


def _closed(data_plane: DataPlane) -> ClosedRepository:
    return ClosedRepository(data_plane.model_registry)


class ScorerRestServer(RESTServer):  # type: ignore[misc]
    """KServe's REST server, bound to the address of the settings instead of all addresses."""

    host = "127.0.0.1"
    is_open = True

    def __init__(self, app: str, data_plane: DataPlane, _: ModelRepositoryExtension, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, data_plane, _closed(data_plane), *args, **kwargs)
        self.config.host = self.host

    async def start(self) -> None:
        """Not beside a gRPC port that asks for certificates: anyone could call it, and no process of ours does."""
        if self.is_open:
            await super().start()


class ServingErrors(ExceptionToStatusInterceptor):  # type: ignore[misc]
    """KServe's statuses for its own errors. A call that has its status already passes: answered twice, it would log two
    tracebacks for each "try again".
    """

    async def handle_exception(self, ex: Exception, *call: Any) -> None:
        if isinstance(ex, grpc.aio.AbortError):
            raise ex
        await super().handle_exception(ex, *call)


class ScorerServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server with the health, reflection, tracing and error details of the other services."""

    host = "127.0.0.1"
    transport = PLAIN
    is_alive: Callable[[], bool] = staticmethod(lambda: True)

    async def start(self, max_workers: int) -> None:
        self._server = grpc.aio.server(
            interceptors=[
                SlowReaderInterceptor(), *server_interceptors(), ServingErrors(),
                ErrorInterceptor(self.transport.guard(CALLERS), pass_unknown=True),
            ],
            options=list(SERVER_OPTIONS),
        )  # fmt: skip
        servicer = InferenceServicer(self._data_plane, _closed(self._data_plane))
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._health = add_health(self._server)
        if not self.transport.is_on:
            add_reflection(self._server, [NAME])
        self._health_port = HealthPort(self.host, self.transport.health_port, self._health)
        self.port = self.transport.listen(self._server, f"{self.host}:{self._port}")
        await set_health(self._health, [NAME], serving=True)
        await self._health_port.start()
        await self._server.start()
        while await self._server.wait_for_termination(_HEALTH_INTERVAL_SECONDS):
            await set_health(self._health, [NAME], serving=self.is_alive())

    async def stop(self, sig: int | None = None) -> None:
        if self._server:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace=self._grace_period)
            await self._health_port.stop()
