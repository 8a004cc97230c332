"""When a trial is stopped: a multiple of what trials of its model take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from services.shared.process.channels import open_channel
from tandem.method.evidence.checks import TrialLimit
from tandem.v1 import execution_pb2_grpc
from tests.steps import asked, job_at_hand
from workflows.activities.models import AnswerActivities, TrialTimes
from workflows.activities.usage import ReportedUsage

MODEL, OTHER = ("profile", "slm"), ("profile", "second_slm")


def times_of(*seconds: float) -> TrialTimes:
    times = TrialTimes()
    for each in seconds:
        times.add(MODEL, each)
    return times


def test_nothing_is_usual_before_eight_have_ended_and_each_model_has_its_own_time() -> None:
    assert times_of(*[2.0] * 7).usual(MODEL) is None
    times = times_of(*[2.0] * 8)
    assert (times.usual(MODEL), times.usual(OTHER)) == (2.0, None)


def test_a_few_that_hang_do_not_move_what_is_usual() -> None:
    assert times_of(*[2.0] * 26, *[120.0] * 6).usual(MODEL) == 2.0


def test_what_is_usual_follows_the_newest() -> None:
    assert times_of(*[2.0] * 100, *[9.0] * 32).usual(MODEL) == 9.0


@pytest.mark.parametrize(
    ("usual", "expected", "seconds"),
    [
        (None, 0.0, 120.0),  # nothing is known
        (5.0, 0.0, 20.0),
        (0.1, 0.0, 10.0),  # a busy machine takes longer than four times as long
        (60.0, 0.0, 120.0),
        (None, 50.0, 200.0),  # a long prompt on a slow device
        (0.1, 5.0, 20.0),
    ],
)
def test_a_trial_may_take_four_times_what_is_usual_within_bounds(
    usual: float | None, expected: float, seconds: float
) -> None:
    assert TrialLimit(4.0, 120.0, expected).seconds(usual) == seconds


class Frozen(execution_pb2_grpc.SlmExecutorServicer):
    """A process that takes calls and answers none, as one that is paused."""

    async def Execute(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield await asyncio.get_running_loop().create_future()

    async def Abort(self, request: Any, context: Any) -> Any:
        return await asyncio.get_running_loop().create_future()


@pytest.mark.timeout(60)
async def test_a_trial_of_a_model_that_cannot_even_be_aborted_ends_and_is_not_tried_again() -> None:
    server = grpc.aio.server()
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(Frozen(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    request, step = asked("r", "q", max_tokens=(8,), trial=1, limit=TrialLimit(4.0, 0.2))
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            answers = AnswerActivities({"slm": channel}, cast(Any, None), ReportedUsage(), cast(Any, None))
            with pytest.raises(ApplicationError) as failed:
                await ActivityEnvironment().run(answers.answer, job_at_hand(request), step)
    finally:
        await server.stop(None)
    assert failed.value.non_retryable
