"""What any other gRPC client finds: health, reflection, the Open Inference Protocol, clear refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc

from services.insight_generator.service import NAME as GENERATOR
from services.shared.process.server import SERVER_OPTIONS, Server
from services.shared.process.status import error_info
from services.slm_executor.service import NAME as EXECUTOR
from services.sufficiency_scorer.scorer_inputs import NAMES
from services.sufficiency_scorer.service import MODEL_NAME
from services.sufficiency_scorer.service import NAME as SCORER
from tandem import RequestError
from tandem.errors import from_rpc
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
        (infer(model="nobody", question="q", insight="i"), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
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


async def test_a_refused_inference_request_leaves_no_traceback_in_the_log(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(system.scorer_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(infer(question="q", request_id="r"))
    assert [each.getMessage() for each in caplog.records if each.exc_info] == []


async def test_no_caller_switches_the_scorer_off(system: System) -> None:
    async with grpc.aio.insecure_channel(system.scorer_address) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        for call, request in (
            (stub.RepositoryModelUnload, oip.RepositoryModelUnloadRequest(model_name=MODEL_NAME)),
            (stub.RepositoryModelLoad, oip.RepositoryModelLoadRequest(model_name=MODEL_NAME)),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="by a caller") as caught:
                await call(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await stub.ModelReady(oip.ModelReadyRequest(name=MODEL_NAME))).ready
        assert (await stub.ModelInfer(infer(question="q", insight="i"))).outputs


@pytest.mark.parametrize("method", ["Solve", "GetRequest"])
async def test_bytes_that_are_no_message_are_an_invalid_argument(system: System, method: str) -> None:
    async with grpc.aio.insecure_channel(system.client.address) as channel:
        path = f"/tandem.v1.TandemService/{method}"
        call = (channel.unary_stream if method == "Solve" else channel.unary_unary)(path, None, None)(b"\xff" * 9)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)
    assert (caught.value.code(), error_info(caught.value).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")


async def test_an_error_that_quotes_much_of_the_request_still_arrives(system: System) -> None:
    for letter in ("x", "ß", "深", "\U0001f600"):
        with pytest.raises(RequestError) as caught:
            await system.client.list(f"{letter * 20_000} = 1")
        assert (caught.value.code, caught.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "where")


class Flood(execution_pb2_grpc.SlmExecutorServicer):
    """Writes for ever. `num_open`: calls whose handler has not ended."""

    num_open = 0

    async def Execute(
        self, request: execution_pb2.ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[execution_pb2.ExecuteEvent]:
        self.num_open += 1
        try:
            while True:
                text = "x" * 100_000
                yield execution_pb2.ExecuteEvent(finished=execution_pb2.ExecuteFinished(text=text))
        finally:
            self.num_open -= 1


async def test_a_client_that_does_not_read_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.shared.process.interceptors.WRITE_TIMEOUT", timedelta(seconds=0.5))
    server, flood = Server("127.0.0.1", 0, [EXECUTOR]), Flood()
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(flood, server.grpc)
    await server.start()
    await server.serving()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = execution_pb2_grpc.SlmExecutorStub(channel)
        calls = [stub.Execute(execution_pb2.ExecuteRequest()) for _ in range(20)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(call.read() for call in calls))  # and no more
            while flood.num_open:
                await asyncio.sleep(0.05)
        for call in calls:
            call.cancel()
    await server.stop(timedelta(0))


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**dict(SERVER_OPTIONS), "grpc.server_handshake_timeout_ms": 500}
    monkeypatch.setattr("services.shared.process.server.SERVER_OPTIONS", tuple(options.items()))
    server = Server("127.0.0.1", 0, [EXECUTOR])
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(30):
        while await reader.read(1000):
            pass
    writer.close()
    await server.stop(timedelta(0))


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
        refusal = from_rpc(caught.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")
        assert refusal.is_connection_lost  # whoever follows a request or a batch asks again
        assert refusal.retry_after_s
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
