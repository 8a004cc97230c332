"""Which checks an answer of a request must pass: the profile's, and the request's own."""

from __future__ import annotations

from functools import cache

from services.bounded.calls import BoundedCalls, Busy, Refused, TooCostly
from services.checks.built_in import JSON_SCHEMA, validate_schema
from services.checks.registry import applies, validate
from services.process.without_engine import check_schema, check_tool_schemas
from tandem.method.checks import CheckSpec
from tandem.method.conversation import TASKS
from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.method.profile import Profile
from tandem.method.request import SolveRequest

_MILLISECONDS_PER_CHARACTER = 0.015
_RETRY_SECONDS = 1.0


def check_profile(profile: Profile) -> None:
    """Raises InvalidArgument for a check of the profile that is unknown here or whose argument it cannot use."""
    for task in TASKS:
        for spec in profile.checks.of(task):
            validate(spec)


def applicable_checks(profile: Profile, request: SolveRequest) -> list[CheckSpec]:
    """The profile's checks that have something to compare with, and all of the request's, a JSON schema among them.

    Raises InvalidArgument for one of the request's that is unknown, or that has nothing to compare with. Its schemas are
    left to `check_schemas`.
    """
    wanted = [*request.checks, *([CheckSpec(JSON_SCHEMA.name, request.json_schema)] if request.json_schema else [])]
    for spec in request.checks:
        if not _is_schema(spec) and not applies(spec, request.question, request.task):
            raise InvalidArgument(
                f"the check {spec.name!r} has nothing to compare a {request.task} with: give it an argument",
                field="checks",
            )
    named = {spec.name for spec in wanted}
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
        if _is_schema(spec):
            await _check_argument(spec.argument)


def _is_schema(spec: CheckSpec) -> bool:
    return spec.name == JSON_SCHEMA.name and bool(spec.argument.strip())


async def _check_argument(schema: str) -> None:
    calls = _calls()
    try:
        async with calls.turn(len(schema) * _MILLISECONDS_PER_CHARACTER):
            await calls.run(f"{validate_schema.__module__}:{validate_schema.__name__}", schema)
    except Refused as error:
        raise InvalidArgument(f"{JSON_SCHEMA.name}: {error}", field="checks") from None
    except TooCostly:
        raise InvalidArgument(f"{JSON_SCHEMA.name}: the schema is too costly to check", field="checks") from None
    except Busy as error:
        raise ResourceExhausted(f"{JSON_SCHEMA.name}: {error}", retry_after_s=_RETRY_SECONDS) from None


@cache
def _calls() -> BoundedCalls:
    """Of this process; its helper starts with the first check of this kind."""
    return BoundedCalls([validate_schema.__module__])
