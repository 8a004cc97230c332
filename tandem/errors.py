"""Errors whose message is written for the user.

UserError               the message says what to do; the command line prints it without a traceback
├── RequestError        a gRPC status of the gateway
├── TraceError          tandem.tracing.jaeger
├── MissingParts        this installation lacks a package or the repository
├── ModelError          tandem.local.catalogue
├── StackError          tandem.local.layout
└── SetupError          a port, a setting or a file of a process
    ├── CertificateError    services.shared.process.certificate
    ├── KeyFileError        tandem.access.keys
    └── TenantFileError     tandem.access.tenants
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every command needs this module, and only those that call the gateway need gRPC
    import grpc


_CHANNEL_CLOSED = "Channel closed!"  # gRPC's own words, of a call whose client closed its channel
# gRPC's own words, from a server that has read no more than the length.
_TOO_LARGE = re.compile(r"^SERVER: Received message larger than max \((\d+) vs\. (\d+)\)")


class UserError(Exception):
    """The message says what is wrong and what to do."""


class SetupError(UserError):
    """A process cannot work with a port, a setting or a file that its operator has given it.

    The message is about those alone and never quotes a request. So it is shown in every log, where the messages of
    other errors are withheld (services.shared.observability.text).
    """


LOADING = "LOADING"
"""The reason for which a process refuses its calls until it is ready."""
SERVER_ENDS = "SERVER_ENDS"
"""The reason for which a process ends its calls when it ends; who asks again reaches another one."""
CANNOT_START = "cannot start: "
"""What the last line of a process begins with that ends because of a SetupError."""


class MissingParts(UserError):
    """A command needs the repository or an extra that is not installed."""


class RequestError(UserError):
    """The gateway refused a request, or no gateway could be reached.

    `code` is the gRPC status, `reason` the machine-readable cause (google.rpc.ErrorInfo), `field` the name of an
    invalid argument, `retry_after_s` the seconds after which a retry may succeed. `metadata` says more, by reason: of a
    tenant's limit its name (`limit`), its value (`most`) and what is left of it (`left`).
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        field: str = "",
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})
        self.code, self.reason, self.field, self.retry_after_s = code, reason, field, retry_after_s

    @property
    def is_connection_lost(self) -> bool:
        """No gateway is there, or one that starts or ends, which says nothing about the request: ask again."""
        return self.code.name == "UNAVAILABLE" and self.reason in ("", LOADING, SERVER_ENDS)


def from_rpc(error: grpc.RpcError) -> RequestError:
    """The status of a failed call with its google.rpc details."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    if too_large := _TOO_LARGE.search(error.details() or ""):
        size, most = map(int, too_large.groups())
        return RequestError(error.code(), _said_too_large(size, most), "MESSAGE_TOO_LARGE")
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an RpcError is a Call
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    if error.code().name == "CANCELLED" and not info.reason and error.details() != _CHANNEL_CLOSED:
        return _not_accepted()
    return RequestError(
        code=error.code(),
        message=error.details() or error.code().name,
        reason=info.reason,
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        metadata=info.metadata,
    )


def _not_accepted() -> RequestError:
    """A gateway has no CANCELLED of its own: gRPC ends with it what reached a server that stops, and had not begun."""
    import grpc

    return RequestError(
        grpc.StatusCode.UNAVAILABLE, "the gateway ended before it accepted this call: ask again", SERVER_ENDS
    )


def _said_too_large(size: int, most: int) -> str:
    return (
        f"the question is too large: with all that belongs to it, it has {size:,} bytes, {size - most:,} more than "
        f"the {most:,} that the gateway takes; shorten it, or ask in parts"
    )
