"""Credentials through the HTTP gateway: it passes them on, and the gateway says whose they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from services.http_gateway.lifetime import Readiness
from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tests.integration.conftest import System, run_system
from tests.integration.edge import body, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def keys(key_file: KeyFile) -> dict[str, str]:
    """What each caller sends."""
    revoked, secret = key_file.create("tenant")
    key_file.revoke(revoked.id)
    return {
        "tenant": key_file.create("tenant")[1],
        "other": key_file.create("other")[1],
        "revoked": secret,
        "nobody": "",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, key_file: KeyFile, keys: dict[str, str]
) -> AsyncIterator[System]:
    """A system that asks for API keys."""
    authentication = Authentication(ApiKeys(key_file.path))
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address, authentication=authentication, alias="http-keys"
    )
    async with running as system:
        yield system


async def test_each_caller_is_who_its_key_says(guarded: System, keys: dict[str, str]) -> None:
    key = uuid4().hex
    async with serving(guarded.client.address) as http:

        async def post(caller: str, script: str = "[scores=16:0.9 slm_eos=5]") -> httpx.Response:
            headers = {"Idempotency-Key": key} | ({"Authorization": f"Bearer {keys[caller]}"} if keys[caller] else {})
            asked = body(script, model="scripted-http-keys")
            return await http.post("/v1/chat/completions", json=asked, headers=headers)

        assert (await post("tenant")).json()["id"] == f"chatcmpl-{key}"
        assert (await post("other", "[slm_eos=4 scores=0:0.9]")).status_code == 200  # an id counts within its tenant
        refused = [await post("nobody"), await post("revoked"), await http.get("/v1/models")]
        assert [(reply.status_code, reply.json()["error"]["type"]) for reply in refused] == [
            (401, "authentication_error")
        ] * 3
        assert (await http.get("/readyz")).status_code == 200  # it asks who calls, so it answers


async def test_a_gateway_that_asks_nobody_is_not_opened_to_others(system: System, guarded: System) -> None:
    reasons = []
    for each in (system, guarded):
        async with AsyncClient(each.client.address) as client:
            reasons.append(await Readiness(client, may_be_open=False).reason_against())
    assert ("TANDEM_ALLOW_ANONYMOUS" in reasons[0], reasons[1]) == (True, "")
