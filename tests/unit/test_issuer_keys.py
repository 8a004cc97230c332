"""An issuer's keys: who waits for an issuer that hangs, how often it is asked, and how long its keys hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.shared.identity import issuer_keys
from services.shared.identity.authentication import ApiKeys, Authentication
from services.shared.identity.caller import Caller
from services.shared.identity.tokens import Issuer, Tokens
from tandem.access.keys import KeyFile
from tandem.method.errors import Unauthenticated, Unavailable

_BOUND_SECONDS = 60.0  # of what happens at once, on a busy machine


class IssuerServer:
    """A real HTTP server of keys on this loop. While it `hangs` it takes connections and answers nothing, until the
    test lets it `go`: then it closes them.
    """

    def __init__(self) -> None:
        self.keys = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.hangs = False
        self.num_asked = 0
        self.is_asked, self.go = asyncio.Event(), asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.num_asked += 1
        if self.hangs:
            self.is_asked.set()
            await self.go.wait()
        else:
            body = json.dumps({"keys": [self._jwk(name) for name in self.keys]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    def _jwk(self, name: str) -> dict[str, Any]:
        return {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.keys[name].public_key())), "kid": name}

    def token(self, name: str) -> str:
        key = self.keys.get(name) or ec.generate_private_key(ec.SECP256R1())
        claims = {"iss": self.url, "aud": "tandem", "exp": time.time() + 600, "tenant": "acme"}
        return jwt.encode(claims, key, "ES256", {"kid": name})


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerServer]:
    issuer = IssuerServer()
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield issuer
    issuer.go.set()
    server.close()


def tokens_of(issuer: IssuerServer) -> Tokens:
    return Tokens(Issuer(issuer.url, "tandem", f"{issuer.url}/keys"))


async def refusals(tokens: Tokens, forged: list[str]) -> list[BaseException]:
    found = await asyncio.gather(*(tokens.caller(token) for token in forged), return_exceptions=True)
    return [each for each in found if isinstance(each, BaseException)]


async def test_neither_a_known_key_nor_an_api_key_waits_for_an_issuer_that_hangs(
    issuer: IssuerServer, tmp_path: Path
) -> None:
    _, api_key = KeyFile(tmp_path / "keys.json").create("beta")
    tokens = tokens_of(issuer)
    authentication = Authentication(ApiKeys(tmp_path / "keys.json"), tokens)
    assert await authentication.caller(f"Bearer {issuer.token('one')}") == Caller("acme")
    issuer.hangs = True
    forged = [asyncio.create_task(tokens.caller(issuer.token(f"forged-{number}"))) for number in range(40)]
    await issuer.is_asked.wait()
    async with asyncio.timeout(_BOUND_SECONDS):
        assert await authentication.caller(f"Bearer {issuer.token('one')}") == Caller("acme")
        assert await authentication.caller(f"Bearer {api_key}") == Caller("beta")
        assert await asyncio.to_thread(lambda: "a thread is free")
    assert not any(task.done() for task in forged)
    issuer.go.set()
    found = await asyncio.gather(*forged, return_exceptions=True)
    assert {type(each) for each in found} == {Unavailable}
    assert issuer.num_asked == 2  # the first one, and one for all that are forged


async def test_after_a_fetch_that_failed_an_unknown_key_is_refused_at_once_with_the_time_to_ask_again(
    issuer: IssuerServer,
) -> None:
    issuer.hangs = True
    issuer.go.set()  # it closes each connection without an answer
    tokens = tokens_of(issuer)
    for _ in range(20):
        with pytest.raises(Unavailable) as refused:
            await tokens.caller(issuer.token("one"))
        assert refused.value.reason == "ISSUER_UNAVAILABLE"
        assert refused.value.retry_after_s is not None
        assert 0 < refused.value.retry_after_s <= issuer_keys._PAUSE_SECONDS
    assert issuer.num_asked == 1


async def test_a_fetch_has_a_time_limit_for_all_of_it(issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "_FETCH_SECONDS", 0.2)
    issuer.hangs = True
    with pytest.raises(Unavailable):
        await tokens_of(issuer).caller(issuer.token("one"))
    assert not issuer.go.is_set()


async def test_an_issuer_is_asked_again_after_the_pause_and_its_tokens_are_accepted(
    issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_PAUSE_SECONDS", 0.1)
    issuer.hangs = True
    issuer.go.set()
    tokens = tokens_of(issuer)
    with pytest.raises(Unavailable):
        await tokens.caller(issuer.token("one"))
    issuer.hangs = False
    async with asyncio.timeout(_BOUND_SECONDS):
        while True:
            try:
                assert await tokens.caller(issuer.token("one")) == Caller("acme")
                return
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_tokens_with_made_up_keys_are_refused_and_cost_the_issuer_one_fetch(issuer: IssuerServer) -> None:
    tokens = tokens_of(issuer)
    found = await refusals(tokens, [issuer.token(f"forged-{number}") for number in range(issuer_keys._MOST_WAITING)])
    assert [type(each) for each in found] == [Unauthenticated] * issuer_keys._MOST_WAITING
    assert issuer.num_asked == 1


async def test_no_more_than_a_bounded_number_of_tokens_waits(issuer: IssuerServer) -> None:
    issuer.hangs = True
    tokens, most = tokens_of(issuer), issuer_keys._MOST_WAITING
    waiting = [asyncio.create_task(tokens.caller(issuer.token(f"forged-{number}"))) for number in range(most)]
    await issuer.is_asked.wait()
    with pytest.raises(Unavailable, match="too many"):
        await tokens.caller(issuer.token("one-more"))
    issuer.go.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_new_key_of_the_issuer_is_accepted_at_its_first_token(issuer: IssuerServer) -> None:
    tokens = tokens_of(issuer)
    await tokens.caller(issuer.token("one"))
    issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    assert await tokens.caller(issuer.token("two")) == Caller("acme")


async def test_a_key_that_the_issuer_withdrew_is_refused_after_a_renewal(
    issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_RENEW_SECONDS", 0.05)
    tokens, token = tokens_of(issuer), issuer.token("one")
    await tokens.caller(token)
    issuer.keys = {"two": ec.generate_private_key(ec.SECP256R1())}
    async with asyncio.timeout(_BOUND_SECONDS):
        while {type(each) for each in await refusals(tokens, [token])} != {Unauthenticated}:
            await asyncio.sleep(0.01)


async def test_known_keys_hold_for_a_bounded_time_while_the_issuer_is_away(
    issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_PAUSE_SECONDS", 0.05)
    tokens, token = tokens_of(issuer), issuer.token("one")
    await tokens.caller(token)
    issuer.hangs = True
    issuer.go.set()
    for number in range(5):  # a failed fetch leaves the keys as they are
        await refusals(tokens, [issuer.token(f"forged-{number}")])
        assert await tokens.caller(token) == Caller("acme")
    monkeypatch.setattr(issuer_keys, "_KEEP_SECONDS", 0.0)
    async with asyncio.timeout(_BOUND_SECONDS):
        while {type(each) for each in await refusals(tokens, [token])} != {Unavailable}:
            await asyncio.sleep(0.01)
