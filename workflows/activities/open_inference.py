"""The messages of the Open Inference Protocol, from KServe's generated module alone.

`import kserve` brings a web framework and a data frame library, which a client does not use: two seconds of processor time at
each start of a worker.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip

__all__ = ["model_infer", "oip"]
_MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


def _load() -> ModuleType:
    package = find_spec("kserve")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("kserve is not installed", name="kserve")
    file = Path(package.origin).with_name("protocol") / "grpc" / "grpc_predict_v2_pb2.py"
    spec = spec_from_file_location(f"{__name__}.messages", file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"kserve has no {file.name}", name="kserve")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    oip = _load()


def model_infer(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryUnaryMultiCallable[oip.ModelInferRequest, oip.ModelInferResponse]:
    """The call that has a model score."""
    return channel.unary_unary(
        _MODEL_INFER,
        request_serializer=oip.ModelInferRequest.SerializeToString,
        response_deserializer=oip.ModelInferResponse.FromString,
    )
