"""Tenants' accounts: what each has used, and what its running requests may still cost. One script, accounts.lua."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.shared.request_log.connection import Connection, translated_errors
from tandem.method.request.charge import Charge

_KEYS = ("account", "minute", "settled")


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """None does not limit. USD are whole nano-USD."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The upper bound of a request that runs, set aside at `began_at`; `due_at` is when somebody looks what became of
    it.
    """

    request_id: str
    bound: Charge
    began_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class DueHold:
    """`day` is the UTC day that the request counts towards, YYYY-MM-DD."""

    request_id: str
    bound: Charge
    day: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """`limit` names what is used up, `most` is its value and `left` what is left of it, in nano-USD where it is money.

    `wait` is None where no waiting helps: the request alone is more than the limit.
    """

    limit: str
    most: int
    left: int
    wait: timedelta | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts against the limits now; USD are nano-USD, with what is held."""

    requests_per_minute: int
    tokens_per_minute: int
    concurrent_requests: int
    usd_per_day: int
    usd_per_month: int


class UnknownAccount(Exception):
    """Redis knows nothing of this tenant's month: it has just begun, or Redis has lost it."""


class Accounts:
    """Every call raises Unavailable when Redis does not answer. The empty name is a tenant like others."""

    def __init__(self, connection: Connection) -> None:
        self._redis, self._script = connection.redis, connection.script("accounts.lua")

    async def reserve(self, tenant: str, hold: Hold, limits: AccountLimits, now: datetime) -> Refusal | bool:
        """Hold a request's upper bound, where no limit forbids it. True: it is held; False: it was before, or has
        ended.

        Raises UnknownAccount.
        """
        to_midnight, to_next_month = (int((reset - now).total_seconds() * 1000) for reset in resets(now))
        wanted = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests)
        code, *rest = await self._run(
            tenant,
            "reserve",
            now,
            hold.request_id,
            day_of(hold.began_at),
            hold.bound.nano_usd,
            hold.bound.tokens,
            _ms(hold.due_at),
            to_midnight,
            to_next_month,
            *(
                -1 if limit is None else limit
                for limit in (*wanted, limits.nano_usd_per_day, limits.nano_usd_per_month)
            ),
        )
        if code == "UNKNOWN":
            raise UnknownAccount(tenant)
        if code != "FULL":
            return bool(code == "OK")
        name, most, left, wait = rest
        return Refusal(name, int(most), int(left), None if int(wait) < 0 else timedelta(milliseconds=int(wait)))

    async def settle(self, tenant: str, request_id: str, bill: Charge, day: str, now: datetime) -> None:
        """Put the bill in the hold's place, once; `day` is what it counts towards where Redis has no hold."""
        await self._run(tenant, "settle", now, request_id, bill.nano_usd, bill.tokens, day)

    async def release(self, tenant: str, request_id: str, now: datetime) -> None:
        """Give the hold of a request back that never began."""
        await self._run(tenant, "release", now, request_id)

    async def defer(self, tenant: str, request_id: str, due_at: datetime, now: datetime) -> None:
        """Look what became of a request at another time."""
        await self._run(tenant, "defer", now, request_id, _ms(due_at))

    async def due(self, tenant: str, now: datetime) -> list[DueHold]:
        """Holds whose request has not settled by the time that somebody looks."""
        _, *flat = await self._run(tenant, "due", now)
        rows = zip(*(flat[i::4] for i in range(4)), strict=True)
        return [DueHold(request_id, Charge(int(usd), int(tokens)), day) for request_id, usd, tokens, day in rows]

    async def restore(self, tenant: str, bills: tuple[int, int], holds: Sequence[Hold], now: datetime) -> None:
        """Begin a month: `bills` of day and month so far, and what runs. Nothing where the month has begun."""
        rows = [
            value
            for hold in holds
            for value in (
                hold.request_id, hold.bound.nano_usd, hold.bound.tokens, day_of(hold.began_at),
                int(hold.began_at.timestamp()), _ms(hold.due_at),
            )
        ]  # fmt: skip
        await self._run(tenant, "restore", now, day_of(now), *bills, *rows)

    async def is_known(self, tenant: str, now: datetime) -> bool:
        """False where the month has just begun, or Redis has lost it."""
        with translated_errors():
            return bool(await self._redis.hexists(_key(tenant, "account"), day_of(now)[:7]))

    async def is_held(self, tenant: str, request_id: str) -> bool:
        """Whether the request's bound is held, so that its bill is not on the account yet."""
        with translated_errors():
            return bool(await self._redis.hexists(_key(tenant, "account"), f"hold:{request_id}"))

    async def standing(self, tenant: str, now: datetime) -> Standing:
        _, *values = await self._run(tenant, "standing", now, day_of(now))
        return Standing(*(int(value) for value in values))

    async def _run(self, tenant: str, command: str, now: datetime, *arguments: Any) -> list[str]:
        with translated_errors():
            reply: list[str] = await self._script(
                keys=[_key(tenant, name) for name in _KEYS], args=[command, _ms(now), *arguments]
            )
        return reply


def _key(tenant: str, name: str) -> str:
    return f"{{tenant:{tenant}}}:{name}"


def day_of(moment: datetime) -> str:
    """The UTC day, YYYY-MM-DD."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def start_of_month(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def resets(now: datetime) -> tuple[datetime, datetime]:
    """The ends of the UTC day and month."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return midnight, (start_of_month(now) + timedelta(days=32)).replace(day=1)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
