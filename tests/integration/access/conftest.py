from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tests.integration.access.guarded import CALLERS, Guarded, make_one_of_each
from tests.integration.conftest import run_system


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = KeyFile(folder / "keys.json")
    credentials = {"tenant": keys.create("tenant")[1], "other": keys.create("other")[1], "outsider": ""}
    credentials["admin"] = keys.create("ops", ["admin"])[1]
    revoked, credentials["revoked"] = keys.create("tenant")
    keys.revoke(revoked.id)
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address,
        authentication=Authentication(ApiKeys(keys.path)), alias="keys", files=str(folder / "files"),
    )  # fmt: skip
    async with running as system:
        clients = {name: AsyncClient(system.client.address, credentials[name]) for name in CALLERS}
        yield Guarded(system, keys, credentials, clients, await make_one_of_each(clients["tenant"], system))
        for client in clients.values():
            await client.close()
