"""What any other gRPC client finds: health, reflection, the Open Inference Protocol, clear refusals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc

from services.insight_generator.service import NAME as GENERATOR
from services.process.server import Server
from services.process.status import error_info
from services.slm_executor.service import NAME as EXECUTOR
from services.sufficiency_scorer.features import NAMES
from services.sufficiency_scorer.service import MODEL_NAME
from services.sufficiency_scorer.service import NAME as SCORER
from tandem.v1 import execution_pb2, execution_pb2_grpc, insight_pb2, insight_pb2_grpc
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


def address_of(system: System, service: str) -> str:
    return {GENERATOR: system.generator_address, EXECUTOR: system.executor_address, SCORER: system.scorer_address}[
        service
    ]


@pytest.mark.parametrize("service", [GENERATOR, EXECUTOR, SCORER])
async def test_health_and_reflection_name_the_service(system: System, service: str) -> None:
    async with grpc.aio.insecure_channel(address_of(system, service)) as channel:
        for name in ("", service):
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
        listed = [s.name async for reply in stream for s in reply.list_services_response.service]
        assert service in listed


def infer(model: str = MODEL_NAME, **inputs: str) -> oip.ModelInferRequest:
    tensors = [
        oip.ModelInferRequest.InferInputTensor(
            name=name, datatype="BYTES", shape=[1], contents=oip.InferTensorContents(bytes_contents=[value.encode()])
        )
        for name, value in inputs.items()
    ]
    return oip.ModelInferRequest(model_name=model, inputs=tensors)


async def test_any_client_can_score_a_question_with_an_insight(system: System) -> None:
    async with grpc.aio.insecure_channel(system.scorer_address) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        reply = await stub.ModelInfer(infer(question="[scores=3:0.7]", insight="We add."))
    outputs = {o.name: o for o in reply.outputs}
    assert outputs["score"].contents.fp32_contents[0] == pytest.approx(0.7, abs=1e-5)
    assert list(outputs["features"].shape) == [len(NAMES)]
    assert outputs["tokens_scored"].contents.int64_contents[0] > 0
    assert not reply.parameters["trained"].bool_param


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (infer(insight="no question"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (infer(question="q"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (infer(question="q", request_id="r"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (infer(model="nobody", question="q", insight="i"), grpc.StatusCode.NOT_FOUND, ""),
    ],
)
async def test_a_bad_inference_request_is_refused_with_its_reason(
    system: System, request_: oip.ModelInferRequest, code: grpc.StatusCode, reason: str
) -> None:
    async with grpc.aio.insecure_channel(system.scorer_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_)
    assert caught.value.code() is code
    assert error_info(caught.value).reason == reason


async def test_a_stage_that_the_log_lacks_is_reported_as_lost(system: System) -> None:
    async with grpc.aio.insecure_channel(system.executor_address) as channel:
        request = execution_pb2.ExecuteRequest(request_id="nobody", epoch=1, question="q", stage=2, max_tokens=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execution_pb2_grpc.SlmExecutorStub(channel).Execute(request).read()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(caught.value).reason == "STAGE_LOST"


async def test_an_engine_that_stopped_is_unavailable_and_a_bug_is_internal(system: System) -> None:
    async with grpc.aio.insecure_channel(system.generator_address) as channel:
        stub = insight_pb2_grpc.InsightGeneratorStub(channel)
        for question, caps, code in (
            ("[fail=llm]", [5], grpc.StatusCode.UNAVAILABLE),
            ("[ms=oops]", [5], grpc.StatusCode.INTERNAL),
        ):
            request = insight_pb2.GenerateRequest(
                request_id=f"bad-{code}", epoch=1, question=question, stage_max_tokens=caps
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.Generate(request):
                    pass
            assert caught.value.code() is code
        assert "oops" not in str(caught.value.details())


async def test_a_process_that_still_loads_is_alive_and_its_calls_are_unavailable() -> None:
    class Unloaded(execution_pb2_grpc.SlmExecutorServicer):
        async def GetModelInfo(
            self, request: execution_pb2.GetModelInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
        ) -> execution_pb2.GetModelInfoResponse:
            return execution_pb2.GetModelInfoResponse(model="loaded")

    server = Server("127.0.0.1", 0, [EXECUTOR])
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(Unloaded(), server.grpc)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        executor, health = execution_pb2_grpc.SlmExecutorStub(channel), health_pb2_grpc.HealthStub(channel)
        alive = await health.Check(health_pb2.HealthCheckRequest())
        assert alive.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="still loading") as caught:
            await executor.GetModelInfo(execution_pb2.GetModelInfoRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.serving()
        assert (await executor.GetModelInfo(execution_pb2.GetModelInfoRequest())).model == "loaded"
    await server.stop(timedelta(0))


async def test_an_abort_of_an_unknown_request_says_so(system: System) -> None:
    async with grpc.aio.insecure_channel(system.generator_address) as channel:
        reply = await insight_pb2_grpc.InsightGeneratorStub(channel).Abort(
            execution_pb2.AbortRequest(request_id="nobody")
        )
        info = await insight_pb2_grpc.InsightGeneratorStub(channel).GetModelInfo(execution_pb2.GetModelInfoRequest())
    assert not reply.aborted
    assert (info.model, info.engine) == ("scripted-llm", "scripted")
