"""A system that asks for API keys, and what one of its tenants has there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from uuid import uuid4

from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tandem.client.batches import new_batch
from tests.integration.conftest import System
from tests.integration.test_batch import end

CALLERS = ("outsider", "revoked", "tenant", "other", "admin")
"""Nobody, who once was `tenant`, the owner of all that is named, another tenant, and an operator."""
QUESTION = "[scores=16:0.9 slm_eos=5] who asks?"
LINE = json.dumps({"id": "a", "question": QUESTION}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Names:
    """Ids of a request, a file and a batch, as a caller writes them."""

    request: str
    file: str
    batch: str

    @classmethod
    def unknown(cls) -> Names:
        """Nobody has used these."""
        return cls(uuid4().hex, f"file-{uuid4().hex}", f"batch_{uuid4().hex}")

    def within(self, tenant: str) -> Names:
        return Names(*(f"{tenant}/{getattr(self, each.name)}" for each in fields(self)))

    def hidden_in(self, text: str) -> str:
        """The text with each of these replaced, so that two texts can be compared."""
        for each in fields(self):
            text = text.replace(getattr(self, each.name), each.name.upper())
        return text


@dataclass(frozen=True)
class Guarded:
    """`tenant` has `made`, and others know the ids. `credentials` and `clients` are by caller."""

    system: System
    keys: KeyFile
    credentials: dict[str, str]
    clients: dict[str, AsyncClient]
    made: Names

    @property
    def address(self) -> str:
        return self.system.client.address

    async def names_for(self, caller: str, erased: str = "") -> Names:
        """What `tenant` has, as this caller writes it: an admin writes whose it is. What a call is to erase is made
        anew.
        """
        made = self.made
        if erased == "request":
            made = replace(made, request=(await self.clients["tenant"].ask(QUESTION)).request_id)
        elif erased == "file":
            made = replace(made, file=await uploaded(self.clients["tenant"]))
        return made.within("tenant") if caller == "admin" else made


async def uploaded(client: AsyncClient) -> str:
    """Id of a new file of one question."""

    async def content() -> AsyncIterator[bytes]:
        yield LINE

    return (await client.batches.upload("questions.jsonl", content())).file_id


async def make_one_of_each(client: AsyncClient, system: System) -> Names:
    request, file = (await client.ask(QUESTION)).request_id, await uploaded(client)
    batch = await client.batches.create(new_batch(file))
    await end(replace(system, client=client), batch.batch_id)
    return Names(request, file, batch.batch_id)
