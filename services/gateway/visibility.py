"""Requests as Temporal's visibility finds them: what a user asks for (`cost > 0.01 and stage = 2`), newest first; a
tenant's bills.

Temporal lists what runs first, then what has ended, the latest end first; a visibility store in SQL takes no other
order.
"""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from services.shared.process.temporal import unavailable
from tandem.method.errors import FailedPrecondition, InvalidArgument, TandemError
from tandem.method.names import SEARCH_ATTRIBUTES, SOLVE_WORKFLOW
from tandem.method.request.charge import Charge, nano_usd

logger = logging.getLogger(__name__)
_MIN_PAGE, _SPENT_PAGE = 100, 1000
_CONDITION = re.compile(r"""\s*(\w+)\s*(<=|>=|!=|<>|=|<|>)\s*("[^"]*"|'[^']*'|[^\s"'()]+)\s*""")
_JOIN = re.compile(r"(and|or)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
# Between quotes, none of these can end the string in Temporal's dialect of SQL.
_HARMLESS = re.compile(r"""[^'"`\\\x00-\x1f\x7f]+""")
_NUMERIC = {"cost", "saved", "stage"}
_STATES = {"running": "Running", "completed": "Completed", "failed": "Failed"}
_FIELDS = {**SEARCH_ATTRIBUTES, "state": "ExecutionStatus", "started": "StartTime"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One request as Temporal's visibility has it; `attributes` by the names of `SEARCH_ATTRIBUTES`, those that are
    set. `question`: its beginning; `tool`: whose result it is, empty where it is the user's.
    """

    request_id: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    trace_id: str
    profile: str
    tenant: str
    question: str
    tool: str
    session: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PageToken:
    """The place where the next page of a list begins: with those that began before this moment and are not `seen`."""

    before: datetime
    seen: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> PageToken:
        """Raises InvalidArgument."""
        before, *seen = text.split(" ")
        try:
            return cls(datetime.fromisoformat(before).astimezone(UTC), frozenset(seen))
        except (ValueError, OverflowError):
            raise InvalidArgument("this is no next_page_token of a list", field="page_token") from None

    @classmethod
    def following(cls, page: Sequence[Listed]) -> PageToken:
        last = page[-1].started_at
        # Temporal keeps a time more exactly than Python does: others may have begun in the same microsecond.
        seen = frozenset(each.request_id for each in page if each.started_at == last)
        return cls(last + timedelta(microseconds=1), seen)

    def __str__(self) -> str:
        return " ".join([self.before.isoformat(), *sorted(self.seen)])

    @property
    def condition(self) -> str:
        """Return the condition of Temporal's visibility."""
        return f"StartTime < '{self.before.isoformat()}'"


@dataclass(frozen=True, slots=True)
class Spent:
    """A request of a tenant: its bill, or of one that runs, or ended without one, its upper bound."""

    request_id: str
    began_at: datetime
    is_running: bool
    charge: Charge


class Visibility:
    """`is_searchable`: see `find_search_attributes`."""

    def __init__(self, client: Client, is_searchable: bool) -> None:
        self._client, self.is_searchable = client, is_searchable

    async def newest(
        self, query: str, limit: int, after: PageToken | None = None
    ) -> tuple[list[Listed], PageToken | None]:
        """Return at most `limit` requests that match a visibility query, newest first, and where more of them follow.
        Raises FailedPrecondition, Unavailable.
        """
        if not self.is_searchable:
            raise FailedPrecondition(
                f"this Temporal namespace does not have the search attributes {', '.join(SEARCH_ATTRIBUTES.values())}; "
                "`temporal operator search-attribute create` adds them",
                reason="NOT_SEARCHABLE",
            )
        try:
            if after is None:
                found = await _newest(self._client, query, limit + 1)
            else:
                found = await _newest(self._client, f"{query} AND {after.condition}", limit + 1 + len(after.seen))
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidArgument(f"the query cannot be run: {error.message}", field="where") from error
            raise unavailable(error) from error
        page = [each for each in found if after is None or each.request_id not in after.seen]
        return page[:limit], PageToken.following(page[:limit]) if len(page) > limit else None

    async def running_since_before(self, moment: datetime) -> list[str]:
        """Ids of the requests that began before `moment` and have not ended. Raises Unavailable."""
        query = visibility_query(f'state = running and started < "{moment.isoformat()}"')
        try:
            return [execution.id async for execution in self._client.list_workflows(query)]
        except RPCError as error:
            raise unavailable(error) from error

    async def spent_since(self, tenant: str, moment: datetime) -> list[Spent]:
        """Return the tenant's requests that began at `moment` or later; none where nothing can be searched for.
        Raises Unavailable.

        An account that Redis has lost is rebuilt from them.
        """
        if not self.is_searchable:
            return []
        whose = f"= '{tenant}'" if tenant else "IS NULL"
        query = (
            f"WorkflowType = '{SOLVE_WORKFLOW}' AND {SEARCH_ATTRIBUTES['tenant']} {whose} "
            f"AND StartTime >= '{moment.isoformat()}'"
        )
        try:
            found = self._client.list_workflows(query, page_size=_SPENT_PAGE)
            return [await _spent(execution) async for execution in found]
        except RPCError as error:
            raise unavailable(error) from error


async def find_search_attributes(client: Client) -> bool:
    """Tell whether the namespace has all of ours; what it has not is not written, and requests are not found by it."""
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        logger.warning("requests cannot be searched for: %s", error.message)
        return False
    missing = set(SEARCH_ATTRIBUTES.values()) - set(known.custom_attributes)
    if missing:
        logger.warning("requests cannot be searched for: the namespace has no %s", ", ".join(sorted(missing)))
    return not missing


async def _newest(client: Client, query: str, limit: int) -> list[Listed]:
    """Return the last `limit` to begin of those that match, the newest first. Raises RPCError.

    Nothing began after it ended: once a request ended before the `limit` newest ones so far began, no later one of the
    list is newer than they are. So beyond `limit` only those are read that ran at that moment.
    """
    # Those that run are asked for first: one that ends meanwhile is then in both lists rather than in none.
    running = client.list_workflows(f"{query} AND ExecutionStatus = 'Running'", page_size=limit, limit=limit)
    found = {execution.id: execution async for execution in running}
    began = [execution.start_time for execution in found.values()]
    heapq.heapify(began)
    page = max(limit, _MIN_PAGE)
    async for ended in client.list_workflows(f"{query} AND ExecutionStatus != 'Running'", page_size=page):
        if len(began) >= limit and ended.close_time is not None and ended.close_time < began[0]:
            break
        if ended.id not in found:
            heapq.heappush(began, ended.start_time)
        if len(began) > limit:
            heapq.heappop(began)
        found[ended.id] = ended
    in_order = sorted(found.values(), key=lambda execution: execution.start_time, reverse=True)
    return [await _listed(execution) for execution in in_order[:limit]]


async def _readable_memo(execution: WorkflowExecution) -> Mapping[str, Any]:
    """Empty where it was encrypted with a key that is gone: one old request must not hide all others."""
    try:
        return await execution.memo()
    except (TandemError, KeyError) as error:  # KeyError: there are no keys at all, so nothing decrypts
        logger.warning("request %s cannot be read: %s", execution.id, error)
        return {}


async def _listed(execution: WorkflowExecution) -> Listed:
    memo = await _readable_memo(execution)
    found = {pair.key.name: pair.value for pair in execution.typed_search_attributes}
    status = execution.status.name.lower() if execution.status else "running"
    return Listed(
        request_id=execution.id,
        state=status if status in ("running", "completed") else "failed",
        started_at=execution.start_time,
        ended_at=execution.close_time,
        trace_id=str(memo.get("trace_id", "")),
        profile=str(memo.get("profile", "")),
        tenant=str(memo.get("tenant", "")),
        question=str(memo.get("asked", "")),
        tool=str(memo.get("tool", "")),
        session=str(memo.get("session", "")),
        attributes={name: found[key] for name, key in SEARCH_ATTRIBUTES.items() if key in found},
    )


async def _spent(execution: WorkflowExecution) -> Spent:
    found = {pair.key.name: pair.value for pair in execution.typed_search_attributes}
    usd = found.get(SEARCH_ATTRIBUTES["cost"])
    is_running = execution.status == WorkflowExecutionStatus.RUNNING
    if usd is not None and not is_running:
        return Spent(execution.id, execution.start_time, is_running, Charge(nano_usd(float(usd)), 0))
    memo = await _readable_memo(execution)
    bound = memo.get("bound") or {}
    charge = Charge(int(bound.get("nano_usd", 0)), int(bound.get("tokens", 0)))
    return Spent(execution.id, execution.start_time, is_running, charge)


def visibility_query(where: str, tenant: str = "", *workflows: str) -> str:
    """Return every request that meets `where`, of one tenant if it is given; empty is every request. `workflows`: of
    these types, default: of requests. Raises InvalidArgument naming what cannot be read.
    """
    types = ", ".join(f"'{each}'" for each in workflows or (SOLVE_WORKFLOW,))
    query = f"WorkflowType IN ({types})"
    if tenant:
        query += f" AND {SEARCH_ATTRIBUTES['tenant']} = '{tenant}'"
    conditions = _conditions(where) if where.strip() else ""
    return f"{query} AND ({conditions})" if conditions else query


def _conditions(where: str) -> str:
    parts, position = [], 0
    while True:
        found = _CONDITION.match(where, position)
        if found is None:
            raise InvalidArgument(
                f"{where[position:].strip()!r} is not a condition: write `field operator value`, joined by and / or",
                field="where",
            )
        parts.append(_condition(*found.groups()))
        position = found.end()
        if position == len(where):
            return " ".join(parts)
        join = _JOIN.match(where, position)
        if join is None:
            raise InvalidArgument(f"`and` or `or` is missing before {where[position:]!r}", field="where")
        parts.append(join.group().upper())
        position = join.end()


def _condition(name: str, operator: str, value: str) -> str:
    if name not in _FIELDS:
        raise InvalidArgument(f"there is no field {name!r}; there are {', '.join(_FIELDS)}", field="where")
    if value[0] in "\"'":
        value = value[1:-1]
    if name in _NUMERIC:
        if not _NUMBER.fullmatch(value):
            raise InvalidArgument(f"{name} is compared with a number, not {value!r}", field="where")
        return f"{_FIELDS[name]} {operator} {value}"
    if name == "state":
        if value not in _STATES:
            raise InvalidArgument(f"a state is one of {', '.join(_STATES)}, not {value!r}", field="where")
        value = _STATES[value]
    if not _HARMLESS.fullmatch(value):
        raise InvalidArgument(f"a value has no quotes, backslashes or control characters: {value!r}", field="where")
    return f"{_FIELDS[name]} {operator} '{value}'"
