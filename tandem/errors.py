"""The one error of the client: a status of the gateway, taken apart."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class RequestError(Exception):
    """A request that the gateway refused or that could not reach it.

    `code` is the gRPC status, `reason` the machine-readable cause (google.rpc.ErrorInfo), `field` names a bad argument,
    `retry_after_s` says when trying again may help.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, reason: str = "", field: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.field, self.retry_after_s = code, reason, field, retry_after_s

    @property
    def is_connection_lost(self) -> bool:
        """The gateway went away, which says nothing about the request."""
        return self.code is grpc.StatusCode.UNAVAILABLE and not self.reason


def from_rpc(error: grpc.RpcError) -> RequestError:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an RpcError is a Call
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    return RequestError(
        code=error.code(),
        message=error.details() or error.code().name,
        reason=info.reason,
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
    )
