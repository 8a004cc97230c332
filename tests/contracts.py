"""The gRPC services that there are, read from their contracts, so that a test of all of them meets a new one."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip

from tandem.paths import REPOSITORY

assert oip.DESCRIPTOR  # the scorer's service is not ours; it is found by name


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service: its path on the wire, and the messages that it takes."""

    path: str
    request: Descriptor
    is_upload: bool
    is_stream: bool

    @classmethod
    def of(cls, method: MethodDescriptor) -> Method:
        path = f"/{method.containing_service.full_name}/{method.name}"
        return cls(path, method.input_type, method.client_streaming, method.server_streaming)

    @property
    def service(self) -> str:
        return self.path.split("/")[1]

    @property
    def kind(self) -> str:
        """As a channel calls it."""
        return f"{'stream' if self.is_upload else 'unary'}_{'stream' if self.is_stream else 'unary'}"

    def __str__(self) -> str:
        return self.path.rpartition(".")[2]


def services() -> set[str]:
    """Full names of all that protos/tandem/v1 declares."""
    files = sorted((REPOSITORY / "protos/tandem/v1").glob("*.proto"))
    modules = [importlib.import_module(f"tandem.v1.{file.stem}_pb2") for file in files]
    return {service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()}


def methods(names: Iterable[str]) -> list[Method]:
    """All methods of these services, by full name."""
    pool = descriptor_pool.Default()
    return [Method.of(method) for name in sorted(names) for method in pool.FindServiceByName(name).methods]
