"""Token counts that outlive a process: what each role and each scoring or prefill pass of a request has used."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial

from services.shared.request_log.connection import PASSES, Connection, Role, key, translated_errors, twice
from tandem.method.tokens import TokenCounts
from tandem.method.usage import total


class Pass(StrEnum):
    """A pass that only reads: the scorer's, and the small model's prefill of an answer's prompt."""

    SCORER = "scorer"
    PREFILL = "prefill"


Passes = Mapping[str, TokenCounts]
"""By name: one that is counted in two places is one pass."""


class Ledger:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def counts(self, request_id: str, role: Role, trial: int | None = None) -> TokenCounts:
        """Tokens of one role as Redis knows them, whatever became of the writer: prompt, and generated ones as
        discarded.

        None where the ledger is of a trial before `trial`: that one is billed.
        """
        names = [f"{role}:{name}" for name in ("trial", "input", "tokens", "discarded", "unlogged")]
        with translated_errors():
            values = await self._connection.redis.hmget(key(request_id, "state"), names)
        known, prompt, *generated = (int(value or 0) for value in values)
        if trial is not None and known < trial:
            return TokenCounts()
        return TokenCounts(prompt=prompt, discarded=sum(generated))

    async def has_closed(self, request_id: str, role: Role) -> bool | None:
        """Whether the role's last attempt has reported all its tokens. None where Redis knows of no attempt."""
        with translated_errors():
            epoch, closed = await self._connection.redis.hmget(
                key(request_id, "state"), [f"{role}:epoch", f"{role}:closed"]
            )
        return None if epoch is None else epoch == closed

    async def take_unreported(self, request_id: str, role: Role) -> TokenCounts:
        """Tokens of attempts that died before their span was exported; the caller reports them. Returned only once."""
        prompt, generated = await self._connection.run_script(request_id, role, 0, "take_unreported")
        return TokenCounts(prompt=int(prompt), discarded=int(generated))

    async def add_pass(self, request_id: str, kind: Pass, name: str, counts: TokenCounts) -> Passes:
        """Count a pass before its result is returned to anyone: once, however often it is given under its `name`.

        Returns all the request's passes.
        """
        with translated_errors():
            return await twice(partial(self._write_pass, request_id, kind, name, counts))

    async def all_passes(self, request_id: str, kind: Pass) -> Passes:
        """All the request's passes, including those whose result was lost."""
        with translated_errors():
            return _passes(kind, await self._connection.redis.hgetall(key(request_id, PASSES)))

    async def all_counts(self, request_id: str) -> TokenCounts:
        """Tokens of all roles and passes as Redis knows them. None of a request that never began, or ended long ago."""
        roles = [await self.counts(request_id, role) for role in (Role.INSIGHT, Role.ANSWER)]
        passes = [total(await self.all_passes(request_id, kind)) for kind in Pass]
        return sum([*roles, *passes], TokenCounts())

    async def _write_pass(self, request_id: str, kind: Pass, name: str, counts: TokenCounts) -> Passes:
        passes = key(request_id, PASSES)
        async with self._connection.pipeline(request_id) as pipe:
            pipe.hset(passes, f"{kind}:{name}", f"{counts.prompt} {counts.cached}")
            pipe.pexpire(passes, self._connection.ttl_ms).hgetall(passes)
            *_, fields = await pipe.execute()
        return _passes(kind, fields)


def _passes(kind: Pass, fields: Mapping[str, str]) -> Passes:
    found = {}
    for field, value in fields.items():
        if field.startswith(f"{kind}:"):
            prompt, cached = value.split()
            found[field.removeprefix(f"{kind}:")] = TokenCounts(int(prompt), int(cached))
    return found
