"""A request as its caller's: within the caller's tenant, under an id of its own there, to the model that is named."""

from __future__ import annotations

from uuid import uuid4

from services.shared.identity.caller import Caller
from tandem.method.errors import InvalidArgument
from tandem.method.rule.stop_rule import member_of
from tandem.v1 import tandem_pb2


def scope(request: tandem_pb2.SolveRequest, caller: Caller) -> None:
    """Make the caller's tenant and the internal id the request's, and `pair/large` the pair's. Raises PermissionDenied,
    InvalidArgument.
    """
    request.tenant = caller.tenant_of(request.tenant)
    if request.request_id or request.question or request.messages:  # else admission says that nothing is asked
        request.request_id = caller.internal_id(request.request_id or uuid4().hex, request.tenant)
    _name_model(request)


def _name_model(request: tandem_pb2.SolveRequest) -> None:
    """`pair/large` becomes the pair, with the stop that it means. Raises InvalidArgument where the request asks for
    another one.
    """
    named, stop = request.profile, request.stop
    request.profile, threshold, max_stage = member_of(named)
    if request.profile == named:
        return
    is_large = threshold is not None
    contradicts = {
        "stop.threshold": is_large and stop.HasField("threshold") and stop.threshold != threshold,
        "stop.thresholds": is_large and any(each != threshold for each in stop.thresholds.values()),
        "stop.max_stage": stop.HasField("max_stage") and stop.max_stage != max_stage,
    }
    if field := next((field for field, is_other in contradicts.items() if is_other), ""):
        message = f"{named!r} is one model alone, which {field} contradicts: leave it out, or ask {request.profile!r}"
        raise InvalidArgument(message, field=field)
    if is_large:
        stop.ClearField("thresholds")  # which say the same
    stop.MergeFrom(tandem_pb2.StopOverrides(threshold=threshold, max_stage=max_stage))
