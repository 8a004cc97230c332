"""Which checks an answer of a request must pass: the profile's, and the request's own."""

from __future__ import annotations

from services.checks.registry import applies, validate
from tandem.method.checks import CheckSpec
from tandem.method.conversation import TASKS
from tandem.method.errors import InvalidArgument
from tandem.method.profile import Profile
from tandem.method.request import SolveRequest


def check_profile(profile: Profile) -> None:
    """Raises InvalidArgument for a check of the profile that is unknown here or whose argument it cannot use."""
    for task in TASKS:
        for spec in profile.checks.of(task):
            validate(spec)


def applicable_checks(profile: Profile, request: SolveRequest) -> list[CheckSpec]:
    """The profile's checks that have something to compare with, and all of the request's, a JSON schema among them.

    Raises InvalidArgument for one of the request's that is unknown, or that has nothing to compare with.
    """
    wanted = [*request.checks, *([CheckSpec("json_schema", request.json_schema)] if request.json_schema else [])]
    for spec in wanted:
        if not applies(spec, request.question, request.task):
            raise InvalidArgument(
                f"the check {spec.name!r} has nothing to compare a {request.task} with: give it an argument",
                field="checks",
            )
    named = {spec.name for spec in wanted}
    usual = [spec for spec in profile.checks.of(request.task) if spec.name not in named]
    return [spec for spec in usual if applies(spec, request.question, request.task)] + wanted
