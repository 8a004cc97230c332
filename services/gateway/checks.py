"""Which checks an answer of a request must pass: the profile's, and the request's own."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from typing import Any

from services.models.without_engine import check_schema, check_tool_schemas
from services.shared.bounded.calls import BoundedCalls, Busy, Refused, TooCostly
from services.shared.checks.api import Check
from services.shared.checks.built_in import JSON_SCHEMA
from services.shared.checks.calls import CallCheck, schema_in
from services.shared.checks.registry import applies, find_check, validate
from tandem.method.conversation import TASKS, Kind, kind_of
from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.method.evidence.checks import CALL, CheckSpec
from tandem.method.profile.profile import Profile
from tandem.method.request.request import SolveRequest
from tandem.method.tools import Tool, ToolUse

_MILLISECONDS_PER_CHARACTER = 0.015
_RETRY_SECONDS = 1.0
_NO_OTHER = "no other program: give it one, or a profile a second small model that tries as well"


def check_profile(profile: Profile) -> None:
    """Raises InvalidArgument for a check of the profile that is unknown here or whose argument it cannot use."""
    for task in TASKS:
        for spec in profile.checks.of(task):
            validate(spec)
            if spec.wants_other and not _compares_models(profile, task):
                raise InvalidArgument(f"{profile.name}: {spec}: {_NO_OTHER}", field="checks")
            if spec.name == CALL:
                raise InvalidArgument("calls are checked by what a request says of its own tools", field="checks")


def applicable_checks(profile: Profile, request: SolveRequest) -> list[CheckSpec]:
    """Return the profile's checks that have something to compare with, and all of the request's, a JSON schema among
    them.

    Raises InvalidArgument for one of the request's that is unknown, or that has nothing to compare with. Its schemas
    are left to `check_schemas`.
    """
    wanted = [*request.checks, *([CheckSpec(JSON_SCHEMA.name, request.json_schema)] if request.json_schema else [])]
    for spec in request.checks:
        if spec.wants_other and not _compares_models(profile, kind_of(request.task, request.json_schema)):
            raise InvalidArgument(f"the check {str(spec)!r} has {_NO_OTHER}", field="checks")
        if not _is_schema(spec) and not applies(spec, request.question, request.task):
            raise InvalidArgument(
                f"the check {spec.name!r} has nothing to compare a {request.task} with: give it an argument",
                field="checks",
            )
    named = {spec.name for spec in wanted}
    if request.tools.may_call:  # a text that calls nothing is held to its schema while it is written
        return list(request.checks)
    usual = [spec for spec in profile.checks.of(request.task) if spec.name not in named]
    return [spec for spec in usual if applies(spec, request.question, request.task)] + wanted


async def check_schemas(request: SolveRequest) -> None:
    """Try the JSON schemas of a request, in processes with limits of time and memory.

    Raises InvalidArgument for one that is wrong or too costly, ResourceExhausted where too many others are tried.
    """
    if request.json_schema:
        await check_schema(request.json_schema)
    if request.tools.may_call:
        await check_tool_schemas(request.tools, request.json_schema)
    for spec in request.checks:
        if schema := schema_in(spec).strip():
            await _check_argument(JSON_SCHEMA, schema)


async def check_passed_schemas(schemas: Collection[dict[str, Any]], request: SolveRequest) -> None:
    """Try those of a body that is passed on to a server which compiles them. Those that were read of it `check_schemas`
    has tried. Raises as that does.
    """
    known = [json.loads(tool.schema) for tool in request.tools.callable]
    others = [schema for schema in schemas if schema not in known]
    tools = [Tool(f"schema_{number}", parameters=json.dumps(schema)) for number, schema in enumerate(others)]
    if tools:
        await check_tool_schemas(ToolUse(tuple(tools)))


def _compares_models(profile: Profile, kind: Kind) -> bool:
    """Tell whether several small models try such a task, so that their answers can be compared."""
    return bool(profile.trial.stages) and kind in profile.trial.tasks and len(profile.trial_order) > 1


def _is_schema(spec: CheckSpec) -> bool:
    return spec.name == JSON_SCHEMA.name and bool(spec.argument.strip())


def check_call_checks(request: SolveRequest) -> None:
    """Calls are checked by `call`, of tools that may be called, and by checkers elsewhere; texts by all others. Raises
    InvalidArgument.
    """
    of_calls = [spec for spec in request.checks if spec.name == CALL]
    if not request.tools.may_call:
        if of_calls:
            raise InvalidArgument(f"{of_calls[0]}: there is no tool to be called", field="checks")
        return
    if not all(spec.name == CALL or find_check(spec).is_remote for spec in request.checks):
        raise InvalidArgument(
            "an answer that may call tools takes no check but `call`, and checkers of your own", field="checks"
        )
    names = {tool.name for tool in request.tools.callable}
    for spec in of_calls:
        validate(spec)
        try:
            tool = CallCheck.parse(spec.argument).tool
        except ValueError as error:
            raise InvalidArgument(f"{spec}: {error}", field="checks") from None
        if tool not in names:
            raise InvalidArgument(f"{spec}: no tool that may be called is {tool!r}", field="checks")


async def _check_argument(check: Check, schema: str) -> None:
    calls = _calls()
    try:
        async with calls.place(len(schema) * _MILLISECONDS_PER_CHARACTER):
            await calls.run(f"{check.validate.__module__}:{check.validate.__name__}", schema)
    except Refused as error:
        raise InvalidArgument(f"{check.name}: {error}", field="checks") from None
    except TooCostly:
        raise InvalidArgument(f"{check.name}: the schema is too costly to check", field="checks") from None
    except Busy as error:
        raise ResourceExhausted(f"{check.name}: {error}", retry_after_s=_RETRY_SECONDS) from None


@cache
def _calls() -> BoundedCalls:
    """Return the check of calls of this process; its helper starts with the first check of this kind."""
    return BoundedCalls([JSON_SCHEMA.validate.__module__])
