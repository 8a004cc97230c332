"""A step of a job with what is asked in it, as a service gets them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

from temporalio.testing import ActivityEnvironment

from tandem.method.profile.profile import load_profile
from tandem.method.request.job import Job, Step
from tandem.method.request.plan import make_plan
from tandem.method.request.request import SolveRequest
from tests.stacks import SCRIPTED_PROFILES
from workflows.activities.jobs import remember

_OF_STEP = {field.name for field in fields(Step)}


class Asked(NamedTuple):
    request: SolveRequest
    step: Step

    @property
    def request_id(self) -> str:
        return self.step.request_id

    def but(self, **fields: Any) -> Asked:
        """With other fields of the step."""
        return self._replace(step=replace(self.step, **fields))


def asked(request_id: str, question: str, profile: str = "scripted", **given: Any) -> Asked:
    """`given` are fields of either."""
    of_step = {name: value for name, value in given.items() if name in _OF_STEP}
    of_request = {name: value for name, value in given.items() if name not in _OF_STEP}
    request = SolveRequest(request_id, question, profile, **of_request)
    return Asked(request, Step(request_id, profile, **of_step))


def job_at_hand(request: SolveRequest) -> Job:
    """What activities work on in a temporalio ActivityEnvironment, for as long as the caller keeps it."""
    job = Job(request, make_plan(load_profile("scripted", (SCRIPTED_PROFILES,))), 10)
    remember(ActivityEnvironment().info.workflow_run_id or "", job)
    return job


def asks(question: str, **given: Any) -> SolveRequest:
    """What is asked, by a request whose id does not matter."""
    return SolveRequest("", question, **given)
