"""Between the workflow's types and the services' messages; nothing here calls anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip
from temporalio.exceptions import ApplicationError

from services.process.status import error_info
from tandem.method.sampling import Sampling
from tandem.method.shared import RoleUsage, ScoreTask, StageScore
from tandem.v1 import tandem_pb2

_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ABORTED,
}


def infer_request(task: ScoreTask) -> oip.ModelInferRequest:
    tensor = oip.ModelInferRequest.InferInputTensor
    contents = oip.InferTensorContents
    return oip.ModelInferRequest(
        model_name="sufficiency",
        id=f"{task.request_id}/{task.stage}",
        parameters={
            "task": oip.InferParameter(string_param=task.task),
            "price_input": oip.InferParameter(string_param=repr(task.prices.input)),
            "price_cached_input": oip.InferParameter(string_param=repr(task.prices.cached_input)),
        },
        inputs=[
            tensor(
                name="question", datatype="BYTES", shape=[1], contents=contents(bytes_contents=[task.question.encode()])
            ),
            tensor(
                name="request_id",
                datatype="BYTES",
                shape=[1],
                contents=contents(bytes_contents=[task.request_id.encode()]),
            ),
            tensor(name="stage", datatype="INT32", shape=[1], contents=contents(int_contents=[task.stage])),
        ],
    )


def stage_score(response: oip.ModelInferResponse, stage: int, tokens: int, epoch: int) -> StageScore:
    outputs = {output.name: output.contents for output in response.outputs}
    return StageScore(
        stage=stage,
        tokens=tokens,
        score=outputs["score"].fp32_contents[0],
        epoch=epoch,
        scorer=response.parameters["scorer"].string_param,
        trained=response.parameters["trained"].bool_param,
        tokens_scored=outputs["tokens_scored"].int64_contents[0],
        tokens_cached=outputs["tokens_cached"].int64_contents[0],
        request_scored=response.parameters["request_scored"].int64_param,
        request_cached=response.parameters["request_cached"].int64_param,
    )


def task(name: str) -> tandem_pb2.Task.ValueType:
    return tandem_pb2.TASK_CODE if name == "code" else tandem_pb2.TASK_UNSPECIFIED


def sampling(chosen: Sampling) -> tandem_pb2.Sampling:
    return tandem_pb2.Sampling(**asdict(chosen))


def role_usage(usage: tandem_pb2.TokenUsage) -> RoleUsage:
    return RoleUsage(**{field.name: getattr(usage, field.name) for field in usage.DESCRIPTOR.fields})


def seconds(message: Any, field: str) -> float | None:
    return getattr(message, field) / 1000 if message.HasField(field) else None


def usage_in(error: grpc.aio.AioRpcError) -> RoleUsage:
    """The ledger that a service puts into the status of work that it could not log."""
    metadata = error_info(error).metadata
    return RoleUsage(
        input_tokens=int(metadata.get("input_tokens", 0)), discarded_tokens=int(metadata.get("discarded_tokens", 0))
    )


def application_error(error: grpc.aio.AioRpcError, detail: object, is_last: bool = False) -> ApplicationError:
    """What an attempt failed with; `is_last`: there must be no other."""
    return ApplicationError(
        error.details() or error.code().name,
        detail,
        type=error_info(error).reason or error.code().name,
        non_retryable=is_last or error.code() in _FINAL,
    )
