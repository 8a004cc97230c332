"""What a user asks for (`cost > 0.01 and stage = 2`) as a query that Temporal's visibility understands."""

from __future__ import annotations

import re

from tandem.method.errors import InvalidArgument
from tandem.method.names import SEARCH_ATTRIBUTES, SOLVE_WORKFLOW

_CONDITION = re.compile(r"""\s*(\w+)\s*(<=|>=|!=|<>|=|<|>)\s*("[^"]*"|'[^']*'|[^\s"'()]+)\s*""")
_JOIN = re.compile(r"(and|or)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
# Between quotes, none of these can end the string in Temporal's dialect of SQL.
_HARMLESS = re.compile(r"""[^'"`\\\x00-\x1f\x7f]+""")
_NUMERIC = {"cost", "saved", "stage"}
_STATES = {"running": "Running", "completed": "Completed", "failed": "Failed"}
_FIELDS = {**SEARCH_ATTRIBUTES, "state": "ExecutionStatus", "started": "StartTime"}


def visibility_query(where: str, tenant: str = "") -> str:
    """Every request that meets `where`, of one tenant if it is given; empty is every request. Raises InvalidArgument naming what cannot be read."""
    query = f"WorkflowType = '{SOLVE_WORKFLOW}'"
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
