"""The call of the Open Inference Protocol that has a model score.

The messages are generated from KServe's .proto (protos/inference, `make protos`), because `import kserve` brings a web framework and a
data frame library: two seconds of processor time at each start of a worker, and 37 packages.
"""

from __future__ import annotations

import grpc

from workflows.activities import grpc_predict_v2_pb2 as oip

__all__ = ["model_infer", "oip"]
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
