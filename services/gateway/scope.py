"""A request as its caller's: within the caller's tenant, under an id of its own there."""

from __future__ import annotations

from uuid import uuid4

from services.shared.identity.caller import Caller
from tandem.v1 import tandem_pb2


def scope(request: tandem_pb2.SolveRequest, caller: Caller) -> None:
    """Make the caller's tenant and the internal id the request's. Raises PermissionDenied."""
    request.tenant = caller.tenant_of(request.tenant)
    if request.request_id or request.question or request.messages:  # else admission says that nothing is asked
        request.request_id = caller.internal_id(request.request_id or uuid4().hex, request.tenant)
