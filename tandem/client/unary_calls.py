"""The calls of a gateway that have one answer, blocking and for asyncio: `Client` and `AsyncClient` have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from tandem.client.contract import to_message
from tandem.client.gateway import Gateway
from tandem.errors import from_rpc
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

Metadata = tuple[tuple[str, str], ...]
T = TypeVar("T")
_SECONDS = 10.0


def unary_call(method: Callable[..., T], request: object, seconds: float, metadata: Metadata) -> T:
    """Raises RequestError, also where no reply came within `seconds`."""
    try:
        return method(request, timeout=seconds, metadata=metadata)
    except grpc.RpcError as error:
        raise from_rpc(error) from None


async def async_unary_call(
    method: Callable[..., Awaitable[T]], request: object, seconds: float, metadata: Metadata
) -> T:
    """As `unary_call`."""
    try:
        return await method(request, timeout=seconds, metadata=metadata)
    except grpc.RpcError as error:
        raise from_rpc(error) from None


def outcome_request(request_id: str, outcome: bool | float) -> tandem_pb2.ReportOutcomeRequest:
    """True: right, False: wrong; a number is a score."""
    said = {"right": outcome} if isinstance(outcome, bool) else {"score": outcome}
    return to_message(tandem_pb2.ReportOutcomeRequest, request_id=request_id, **said)


def next_page(
    asked: tandem_pb2.ListRequestsRequest, found: tandem_pb2.ListRequestsResponse, limit: int
) -> tandem_pb2.ListRequestsRequest | None:
    """The request for what is missing of `limit`; None where nothing is, or there is no more."""
    missing, token = limit - len(found.requests), found.next_page_token
    found.ClearField("next_page_token")
    if not token or missing <= 0:
        return None
    following = tandem_pb2.ListRequestsRequest()
    following.CopyFrom(asked)
    following.limit, following.page_token = missing, token
    return following


def trace_context() -> Metadata:
    """The current trace context, as the W3C headers of a call."""
    from opentelemetry import propagate  # here, because it takes a tenth of the import of this module

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


class UnaryCalls:
    """Every call raises RequestError."""

    _gateway: Gateway
    _stub: tandem_pb2_grpc.TandemServiceStub

    def get(self, request_id: str) -> tandem_pb2.GetRequestResponse:
        return self._call(self._stub.GetRequest, to_message(tandem_pb2.GetRequestRequest, request_id=request_id))

    def timeline(self, request_id: str) -> tandem_pb2.GetTimelineResponse:
        """What the request did and when. Raises RequestError."""
        return self._call(self._stub.GetTimeline, to_message(tandem_pb2.GetTimelineRequest, request_id=request_id))

    def cancel(self, request_id: str) -> tandem_pb2.CancelRequestResponse:
        return self._call(self._stub.CancelRequest, to_message(tandem_pb2.CancelRequestRequest, request_id=request_id))

    def delete(self, request_id: str) -> tandem_pb2.DeleteRequestResponse:
        """Erase a request that has ended. Raises RequestError."""
        return self._call(self._stub.DeleteRequest, to_message(tandem_pb2.DeleteRequestRequest, request_id=request_id))

    def list(self, where: str = "", limit: int = 20, shadows: bool = False) -> tandem_pb2.ListRequestsResponse:
        """At most `limit` requests that match `where` (`cost > 0.01 and stage = 2`), newest first; or what was
        asked beside them. Asks for page after page. Raises RequestError.
        """
        asked = to_message(tandem_pb2.ListRequestsRequest, where=where, limit=limit, shadows=shadows)
        found = self._call(self._stub.ListRequests, asked)
        while following := next_page(asked, found, limit):
            found.MergeFrom(self._call(self._stub.ListRequests, following))
        return found

    def profiles(self) -> tandem_pb2.ListProfilesResponse:
        return self._call(self._stub.ListProfiles, tandem_pb2.ListProfilesRequest())

    def count_tokens(self, request: tandem_pb2.SolveRequest) -> tandem_pb2.CountTokensResponse:
        """How long what is asked is (tandem.request.solve_request makes it), and how long it may be. Raises
        RequestError.
        """
        return self._call(self._stub.CountTokens, tandem_pb2.CountTokensRequest(request=request))

    def tenants(self) -> tandem_pb2.ListTenantsResponse:
        """What the caller's tenant has used of its limits; an admin's answer has every tenant. Raises RequestError."""
        return self._call(self._stub.ListTenants, tandem_pb2.ListTenantsRequest())

    def report(self, request_id: str, outcome: bool | float) -> tandem_pb2.ReportOutcomeResponse:
        """Say what became of a request's answer: right, wrong, or a score from 0 to 1. Raises RequestError."""
        return self._call(self._stub.ReportOutcome, outcome_request(request_id, outcome))

    def promises(self, tenant: str = "", *, with_outcomes: bool = False) -> tandem_pb2.ListPromisesResponse:
        """What outcomes say of the tenant's policies. Raises RequestError."""
        asked = to_message(tandem_pb2.ListPromisesRequest, tenant=tenant, with_outcomes=with_outcomes)
        return self._call(self._stub.ListPromises, asked)

    def _call(self, method: Callable[..., T], request: object) -> T:
        return unary_call(method, request, _SECONDS, (*trace_context(), *self._gateway.metadata))


class AsyncUnaryCalls:
    """As UnaryCalls."""

    _gateway: Gateway
    _stub: tandem_pb2_grpc.TandemServiceAsyncStub

    async def get(self, request_id: str) -> tandem_pb2.GetRequestResponse:
        return await self._call(self._stub.GetRequest, to_message(tandem_pb2.GetRequestRequest, request_id=request_id))

    async def timeline(self, request_id: str) -> tandem_pb2.GetTimelineResponse:
        return await self._call(
            self._stub.GetTimeline, to_message(tandem_pb2.GetTimelineRequest, request_id=request_id)
        )

    async def cancel(self, request_id: str) -> tandem_pb2.CancelRequestResponse:
        return await self._call(
            self._stub.CancelRequest, to_message(tandem_pb2.CancelRequestRequest, request_id=request_id)
        )

    async def delete(self, request_id: str) -> tandem_pb2.DeleteRequestResponse:
        """Erase a request that has ended. Raises RequestError."""
        return await self._call(
            self._stub.DeleteRequest, to_message(tandem_pb2.DeleteRequestRequest, request_id=request_id)
        )

    async def list(self, where: str = "", limit: int = 20, shadows: bool = False) -> tandem_pb2.ListRequestsResponse:
        """At most `limit` requests that match `where` (`cost > 0.01 and stage = 2`), newest first; or what was
        asked beside them. Asks for page after page. Raises RequestError.
        """
        asked = to_message(tandem_pb2.ListRequestsRequest, where=where, limit=limit, shadows=shadows)
        found = await self._call(self._stub.ListRequests, asked)
        while following := next_page(asked, found, limit):
            found.MergeFrom(await self._call(self._stub.ListRequests, following))
        return found

    async def profiles(self) -> tandem_pb2.ListProfilesResponse:
        return await self._call(self._stub.ListProfiles, tandem_pb2.ListProfilesRequest())

    async def count_tokens(self, request: tandem_pb2.SolveRequest) -> tandem_pb2.CountTokensResponse:
        return await self._call(self._stub.CountTokens, tandem_pb2.CountTokensRequest(request=request))

    async def tenants(self) -> tandem_pb2.ListTenantsResponse:
        return await self._call(self._stub.ListTenants, tandem_pb2.ListTenantsRequest())

    async def report(self, request_id: str, outcome: bool | float) -> tandem_pb2.ReportOutcomeResponse:
        return await self._call(self._stub.ReportOutcome, outcome_request(request_id, outcome))

    async def promises(self, tenant: str = "", *, with_outcomes: bool = False) -> tandem_pb2.ListPromisesResponse:
        asked = to_message(tandem_pb2.ListPromisesRequest, tenant=tenant, with_outcomes=with_outcomes)
        return await self._call(self._stub.ListPromises, asked)

    async def _call(self, method: Callable[..., Awaitable[T]], request: object) -> T:
        return await async_unary_call(method, request, _SECONDS, (*trace_context(), *self._gateway.metadata))
