"""A channel to a service of several pods: calls that read the same go to the pod that has read it, while that one has
room.

gRPC's own balancers know nothing of a call's words, and look a name up again only when a connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Any

import grpc

from services.shared.process.certificate import Certificate
from tandem.access.watched_file import WatchedFile

RESOLVE_SECONDS = 5.0  # as long as a cluster's DNS lets an answer live
_MORE_THAN_MEAN = 1.5
_ALWAYS_ROOM = 4
_REMEMBERED = 4096
_REQUEST, _AFFINITY = "tandem-request", "tandem-affinity"
_READY, _FAILURE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE

OpenOne = Callable[[str, grpc.ChannelCredentials | None], grpc.aio.Channel]
Resolve = Callable[[], Awaitable[Iterable[str]]]
Metadata = tuple[tuple[str, str], ...]


def placed(request_id: str, *beginning: str) -> Metadata:
    """Metadata of a call of this request: it goes where an earlier one went, the first one where calls with this
    `beginning` go.
    Without: where the request's calls run, which may be a pod that takes no new ones. A service sees hashes alone.
    """
    request = ((_REQUEST, _hash(request_id)),)
    return (*request, (_AFFINITY, _hash(*beginning))) if beginning else request


class ServiceChannel(grpc.aio.Channel):
    """Opens a channel to each address that `resolve` finds, and one to "", the service's name, which serves while no
    other is connected.

    A channel of gRPC keeps the certificate that it was made with, so a changed one needs another channel, from the next
    call on. Calls in flight end on the channel that they began on. Raises what `open_one` raises.
    """

    def __init__(
        self, open_one: OpenOne, certificate: WatchedFile[Certificate] | None = None, resolve: Resolve | None = None
    ) -> None:
        self._pods = _Pods(open_one, certificate, resolve)

    async def __aenter__(self) -> ServiceChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close(None)

    async def close(self, grace: float | None = None) -> None:
        """Calls in flight are cancelled after `grace` seconds; at once without."""
        await self._pods.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._pods.pick().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._pods.pick().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._pods.pick().channel.channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        return self._method("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        return self._method("unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self._method("stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self._method("stream_stream", method, options)

    def _method(self, kind: str, method: Any, options: Any) -> Callable[..., Any]:
        """Return what a stub keeps of a method, for as long as it lives: each call finds the channel of its moment."""
        key = (kind, method[0])

        def call(*arguments: Any, **named: Any) -> Any:
            opened = self._pods.pick(named.get("metadata") or ())
            if key not in opened.methods:
                opened.methods[key] = getattr(opened.channel, kind)(*method, **options)
            return opened.hold(opened.methods[key](*arguments, **named))

        return call


class _Pods:
    """The channels of a service, and which of them is next."""

    def __init__(
        self, open_one: OpenOne, certificate: WatchedFile[Certificate] | None, resolve: Resolve | None
    ) -> None:
        self._open_one, self._certificate, self._resolve = open_one, certificate, resolve
        self._addresses: frozenset[str] = frozenset()
        self._following: asyncio.Task[None] | None = None
        self._retired: list[_Opened] = []
        self._of_request: dict[str, _Opened] = {}
        self._by_address: dict[str, _Opened] = {}
        self._by_name = self._open("")

    async def close(self, grace: float | None) -> None:
        if self._following:
            self._following.cancel()
        for opened in (*self._retired, *self._by_address.values(), self._by_name):
            await opened.channel.close(grace)

    def pick(self, metadata: Metadata = ()) -> _Opened:
        """Return the channel of a call with this metadata (`placed`)."""
        self._renew()
        keys = dict(metadata)
        request, affinity = keys.get(_REQUEST), keys.get(_AFFINITY)
        opened = self._earlier(request, may_be_retired=affinity is None) or self._first_with_room(affinity)
        if request and affinity:
            self._of_request[request] = opened
            if len(self._of_request) > _REMEMBERED:
                self._of_request.pop(next(iter(self._of_request)))
        return opened

    def _earlier(self, request: str | None, *, may_be_retired: bool) -> _Opened | None:
        """Return where the request's last call went, if that pod may still be there."""
        if (last := self._of_request.get(request or "")) is None:
            return None
        last = self._by_address.get(last.address, last)
        if last.is_retired and not (may_be_retired and last.num_calls):
            return None
        return None if last.state is _FAILURE else last

    def _first_with_room(self, affinity: str | None) -> _Opened:
        """Rendezvous hashing with bounded loads, among those that are connected. Without a key: the least busy."""
        connected = [pod for pod in self._by_address.values() if pod.state is _READY]
        if not connected:
            return self._by_name
        if affinity is None:
            return min(connected, key=lambda pod: (pod.num_calls, pod.last_used))
        mean = (sum(pod.num_calls for pod in connected) + 1) / len(connected)
        room = max(_ALWAYS_ROOM, math.ceil(_MORE_THAN_MEAN * mean))
        return max((pod for pod in connected if pod.num_calls < room), key=lambda pod: _hash(affinity, pod.address))

    def _renew(self) -> None:
        """Open what is missing, retire what has another certificate or is no longer resolved."""
        if self._resolve and self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow(self._resolve))
        certificate = self._certificate.value if self._certificate else None
        if self._by_name.certificate != certificate:
            self._retire(self._by_name)
            self._by_name = self._open("")
        for address, pod in list(self._by_address.items()):
            if address not in self._addresses or pod.certificate != certificate:
                self._retire(self._by_address.pop(address))
        for address in self._addresses - self._by_address.keys():
            self._by_address[address] = self._open(address)

    async def _follow(self, resolve: Resolve) -> None:
        while True:
            with contextlib.suppress(OSError):  # a DNS that does not answer makes no pod disappear
                self._addresses = frozenset(await resolve()) or self._addresses
                self._renew()
                for pod in self._by_address.values():
                    pod.channel.get_state(try_to_connect=True)
            await asyncio.sleep(RESOLVE_SECONDS)

    def _open(self, address: str) -> _Opened:
        certificate = self._certificate.value if self._certificate else None
        credentials = certificate.channel_credentials() if certificate else None
        return _Opened(address, certificate, self._open_one(address, credentials))

    def _retire(self, opened: _Opened) -> None:
        self._retired = [*(each for each in self._retired if not each.is_closed), opened]
        opened.retire()


class _Opened:
    """A channel to an address, with its certificate. Once retired, it is closed when the last of its calls has
    ended.
    """

    _uses = itertools.count(1)

    def __init__(self, address: str, certificate: Certificate | None, channel: grpc.aio.Channel) -> None:
        self.address, self.certificate, self.channel = address, certificate, channel
        self.methods: dict[tuple[str, str], Callable[..., Any]] = {}
        self.num_calls, self.last_used = 0, 0
        self.is_retired = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    @property
    def state(self) -> grpc.ChannelConnectivity:
        return self.channel.get_state(try_to_connect=True)

    def hold(self, call: Any) -> Any:
        self.num_calls += 1
        self.last_used = next(self._uses)
        call.add_done_callback(self._release)
        return call

    def retire(self) -> None:
        self.is_retired = True
        self._close_if_unused()

    def _release(self, _: object) -> None:
        self.num_calls -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self.is_retired and not (self.num_calls or self._closing):
            with contextlib.suppress(RuntimeError):  # the event loop has ended, and the channel with it
                self._closing = asyncio.get_running_loop().create_task(self.channel.close(None))


def _hash(*texts: str) -> str:
    return blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
