"""The judge as a KServe model: Open Inference Protocol v2, `inference.GRPCInferenceService/ModelInfer`.

Inputs, one element each: `question` BYTES, and either `request_id` BYTES with `stage` INT32 (the insight is read from
the request log) or `insight` BYTES (for any other client; `stage` is 1 if not given). Outputs: `score` FP32[1], `features` FP32[16],
`tokens_scored` INT64[1], `tokens_cached` INT64[1]; the response's parameters name the scorer, say if it was trained, and
how many tokens (`request_scored`, `request_cached`) all passes for the request have read so far.
KServe's own gRPC server has no health, reflection, tracing or error details, so ours takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.rest.server import RESTServer

from services.observability.spans import Inference, describe_scoring
from services.observability.tracing import server_interceptors, tracer
from services.process.interceptors import ErrorInterceptor
from services.process.server import SERVER_OPTIONS, add_health_and_reflection, set_health
from services.sufficiency_scorer.judge import Judge, Judgement
from tandem.method.errors import InvalidArgument
from tandem.method.prices import RolePrices
from tandem.method.prompts import Task
from tandem.method.tokens import TokenCounts

NAME = grpc_predict_v2_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
MODEL_NAME = "sufficiency"
_LIFE_SIGN_SECONDS = 1.0


class SufficiencyModel(Model):  # type: ignore[misc]
    def __init__(self, judge: Judge, model: str) -> None:
        super().__init__(MODEL_NAME)
        self._judge, self._model = judge, model
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: Any = None
    ) -> InferResponse:
        # A caller that leaves stops nothing: the pass is computed all the same, so it is counted and told.
        return self._response(payload, await asyncio.shield(asyncio.ensure_future(self._judged(payload))))

    async def _judged(self, payload: InferRequest) -> Judgement:
        inputs = {tensor.name: tensor for tensor in payload.inputs}
        question, task = _text(inputs, "question"), _task(payload)
        with tracer.start_as_current_span(f"evaluate {self._model}") as span:
            if "request_id" in inputs:
                request_id, stage = _text(inputs, "request_id"), _stage(inputs)
                judgement = await self._judge.judge_stage(request_id, stage, question, task)
            else:
                insight = _text(inputs, "insight")
                request_id, stage = uuid4().hex, _stage(inputs) if "stage" in inputs else int(bool(insight))
                judgement = await self._judge.judge(request_id, question, insight, stage, task)
            inference = Inference(self._model, "scorer", request_id, 1, _prices(payload))
            counts = TokenCounts(judgement.tokens_scored, judgement.tokens_cached)
            describe_scoring(span, inference, stage, judgement.score, counts)
        return judgement

    def _response(self, request: InferRequest, judgement: Judgement) -> InferResponse:
        scorer = self._judge.scorer
        return InferResponse(
            response_id=request.id,
            model_name=MODEL_NAME,
            infer_outputs=[
                InferOutput("score", [1], "FP32", [judgement.score]),
                InferOutput("features", [len(judgement.features)], "FP32", judgement.features.tolist()),
                InferOutput("tokens_scored", [1], "INT64", [judgement.tokens_scored]),
                InferOutput("tokens_cached", [1], "INT64", [judgement.tokens_cached]),
            ],
            parameters={
                "scorer": scorer.name,
                "trained": scorer.trained,
                "model": self._model,
                "request_scored": judgement.request_scored,
                "request_cached": judgement.request_cached,
            },
            from_grpc=request.from_grpc,
        )


def _task(request: InferRequest) -> Task:
    """From the request's parameter `task`; answer if not given. Raises InvalidArgument."""
    given = (request.parameters or {}).get("task", "answer")
    name = getattr(given, "string_param", given)
    if name not in ("answer", "code"):
        raise InvalidArgument(f"task is answer or code, not {name!r}", field="parameters")
    return "code" if name == "code" else "answer"


def _prices(request: InferRequest) -> RolePrices:
    """From the request's parameters `price_input` and `price_cached_input`, USD per million tokens; free without them.

    The protocol's parameters know no floating-point numbers, so they are strings.
    """
    given = {name: getattr(value, "string_param", value) for name, value in (request.parameters or {}).items()}
    try:
        return RolePrices(float(given.get("price_input", 0)), float(given.get("price_cached_input", 0)))
    except ValueError as error:
        raise InvalidArgument(f"a price is a number: {error}", field="parameters") from error


def _text(inputs: dict[str, Any], name: str) -> str:
    if name not in inputs or inputs[name].datatype != "BYTES":
        raise InvalidArgument(f"input {name!r} is missing or not BYTES", field=name)
    value = inputs[name].as_numpy().reshape(-1)
    if len(value) != 1:
        raise InvalidArgument(f"input {name!r} needs exactly one element, got {len(value)}", field=name)
    return value[0].decode() if isinstance(value[0], bytes) else str(value[0])


def _stage(inputs: dict[str, Any]) -> int:
    value = inputs["stage"].as_numpy().reshape(-1) if "stage" in inputs else []
    if len(value) != 1 or value[0] < 0:
        raise InvalidArgument("input 'stage' needs exactly one element, 0 or more", field="stage")
    return int(value[0])


class ScorerRestServer(RESTServer):  # type: ignore[misc]
    """KServe's REST server, on the address that the settings name instead of all."""

    host = "127.0.0.1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.host = self.host


class ScorerServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server with what the other services have."""

    host = "127.0.0.1"
    is_alive: Callable[[], bool] = staticmethod(lambda: True)

    async def start(self, max_workers: int) -> None:
        self._server = grpc.aio.server(
            interceptors=[
                *server_interceptors(), ExceptionToStatusInterceptor(), ErrorInterceptor(pass_unknown=True)
            ],
            options=list(SERVER_OPTIONS),
        )  # fmt: skip
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._health = add_health_and_reflection(self._server, [NAME])
        self._server.add_insecure_port(f"{self.host}:{self._port}")
        await set_health(self._health, [NAME], serving=True)
        await self._server.start()
        while await self._server.wait_for_termination(_LIFE_SIGN_SECONDS):
            await set_health(self._health, [NAME], serving=self.is_alive())

    async def stop(self, sig: int | None = None) -> None:
        if self._server:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace=self._grace_period)
