"""KServe's servicer and REST endpoints, in the servers that our other processes have.

KServe documents `ModelServer().start([model])`. What its two servers cannot be told keeps us from it: the gRPC one
listens on all addresses, without certificates, health, reflection, tracing and error details; the REST one listens on
all addresses; both take SIGTERM for themselves, and let any caller unload the model. Model, repository, data plane,
servicer and endpoints are KServe's as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from kserve import ModelRepository, model_server
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.errors import InferenceError, InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from services.shared.process.http_server import HttpServer, http_config
from services.shared.process.server import Server
from services.shared.process.start import bound_socket
from services.shared.process.status import from_engine
from services.shared.process.transport import PLAIN, Transport
from services.sufficiency_scorer.service import CALLERS, NAME, SufficiencyModel
from tandem.method.errors import InvalidArgument, NotFound, TandemError, Unavailable


class ClosedRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """The model of this process lives as long as the process: a caller that unloads it would switch the scorer off for
    all.
    """

    async def load(self, model_name: str) -> None:
        raise InvalidArgument("this server's model cannot be loaded by a caller", field="model_name")

    async def unload(self, model_name: str) -> None:
        raise InvalidArgument("this server's model cannot be unloaded by a caller", field="model_name")


class ScorerServer:
    """The Open Inference Protocol v2 by `grpc` and by `rest`, for the model that `load` makes."""

    def __init__(
        self, host: str, port: int, make: Callable[[], SufficiencyModel], transport: Transport = PLAIN
    ) -> None:
        self._models, self._make = ModelRepository(), make
        self._host, self._is_open = host, not transport.is_on
        self._plane, self._repository = DataPlane(self._models), ClosedRepository(self._models)
        self.grpc = Server(host, port, [NAME], transport=transport, callers=CALLERS, known_error=known_error)
        servicer = InferenceServicer(self._plane, self._repository)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self.grpc.grpc)

    def load(self) -> SufficiencyModel:
        """Load when the engine has loaded. Raises what making the model does."""
        model = self._make()
        self._models.update(model)
        return model

    @contextlib.asynccontextmanager
    async def rest(self, port: int) -> AsyncIterator[None]:
        """REST while the block runs. Not beside a gRPC port that asks for certificates: anyone could call it, and no
        process of ours does. Raises SetupError where the port is taken.
        """
        if not self._is_open:
            yield
            return
        RESTServer(FASTAPI_APP_IMPORT_STRING, self._plane, self._repository, port).create_application()
        server = HttpServer(http_config(model_server.app, self._host, port))
        serving = asyncio.create_task(server.serve([bound_socket(self._host, port)]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving


_FROM_KSERVE: dict[type[Exception], Callable[[str], TandemError]] = {
    InvalidInput: lambda text: InvalidArgument(text, field="inputs"),
    InferenceError: lambda text: InvalidArgument(text, field="inputs"),
    NotImplementedError: lambda text: InvalidArgument(text, field="model_version"),
    ModelNotFound: NotFound,
    ModelNotReady: Unavailable,
}


def known_error(error: Exception) -> TandemError | None:
    """Return what a caller sees of KServe's errors and the engine's."""
    known = _FROM_KSERVE.get(type(error))
    return known(str(error)) if known else from_engine(error)
