"""Hosts that a model's server may be sent to: public ones alone, since the server is in the operator's network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

from tandem.method.errors import InvalidArgument

Resolve = Callable[[str], Awaitable[Iterable[str]]]
_SECONDS = 5.0
_MOST_HOSTS = 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def require_public(hosts: Iterable[str], resolve: Resolve | None = None) -> None:
    """Raises InvalidArgument where a host is none that the Internet knows, or none that is known here.

    The server looks a name up again and may follow a redirect, so its own egress has to be closed as well
    (docs/security.md).
    """
    named = sorted(set(hosts))
    if len(named) > _MOST_HOSTS:
        raise _refused(f"it names {len(named)} hosts, and {_MOST_HOSTS} is the limit")
    await asyncio.gather(*(_require_public(host, resolve or _resolved) for host in named))


async def _require_public(host: str, resolve: Resolve) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            addresses = list(await resolve(host))
    except (OSError, UnicodeError, TimeoutError) as error:
        raise _refused(f"{host!r} cannot be looked up here") from error
    if not addresses or not all(map(_is_public, addresses)):
        raise _refused(f"{host!r} is not a public host")


async def _resolved(host: str) -> list[str]:
    """Resolve the host, also what is written as a number, such as 2130706433 and 0x7f.1."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None or inner is not None:
            return inner is not None and _is_public(str(inner))
    return address.is_global and not address.is_multicast


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"an address that the model's server is to read: {why}", field="native", reason="NOT_PUBLIC")
