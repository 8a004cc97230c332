"""A model's server is sent to hosts of the Internet alone, never into the operator's network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import pytest

from services.gateway import public_hosts
from services.gateway.public_hosts import require_public
from tandem.method.errors import InvalidArgument

INSIDE = [
    "127.0.0.1", "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2001:0:53aa:64c::1", "2130706433", "0x7f.1", "127.1", "localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
async def test_a_host_inside_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await require_public([host])
    assert caught.value.reason == "NOT_PUBLIC"


@pytest.mark.parametrize("host", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
async def test_a_public_address_is_taken(host: str) -> None:
    await require_public([host])


async def test_a_name_is_as_public_as_the_worst_of_its_addresses() -> None:
    async def resolve(host: str) -> Iterable[str]:
        return {"good.example": ["1.1.1.1"], "bad.example": ["1.1.1.1", "10.0.0.1"], "none.example": []}[host]

    await require_public(["good.example"], resolve)
    for host in ("bad.example", "none.example"):
        with pytest.raises(InvalidArgument, match="not a public host"):
            await require_public(["good.example", host], resolve)


async def test_a_name_that_cannot_be_looked_up_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: str) -> Iterable[str]:
        await asyncio.Event().wait()
        return []

    async def fail(_: str) -> Iterable[str]:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(public_hosts, "_SECONDS", 0.01)
    for resolve in (hang, fail):
        with pytest.raises(InvalidArgument, match="cannot be looked up"):
            await require_public(["x.example"], resolve)


async def test_a_body_names_few_hosts() -> None:
    with pytest.raises(InvalidArgument, match="limit"):
        await require_public([f"1.1.1.{number}" for number in range(17)])
