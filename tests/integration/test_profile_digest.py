"""A plan carries its profile's digest, and a process that serves another profile refuses the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc

from services.shared.process.channels import open_channel
from services.shared.process.status import error_info
from tandem import RequestError
from tandem.convert.requests import execute_request_to_pb, generate_request_to_pb, prefill_request_to_pb
from tandem.method.profile.profile import Profile
from tandem.v1 import execution_pb2_grpc, insight_pb2_grpc
from tests.integration.conftest import System
from tests.steps import asked
from workflows.activities.scoring import infer_request

pytestmark = pytest.mark.asyncio(loop_scope="session")
TASK = asked("other", "why?", "scripted", profile_digest="of-another-one", max_tokens=(16,), epoch=1)
Call = Callable[[grpc.aio.Channel], Any]
CALLS: dict[str, tuple[str, Call]] = {
    "Generate": (
        "generator_address",
        lambda channel: anext(
            aiter(insight_pb2_grpc.InsightGeneratorStub(channel).Generate(generate_request_to_pb(*TASK)))
        ),
    ),
    "Execute": (
        "executor_address",
        lambda channel: anext(aiter(execution_pb2_grpc.SlmExecutorStub(channel).Execute(execute_request_to_pb(*TASK)))),
    ),
    "Prefill": (
        "executor_address",
        lambda channel: execution_pb2_grpc.SlmExecutorStub(channel).Prefill(prefill_request_to_pb(*TASK)),
    ),
    "ModelInfer": (
        "scorer_address",
        lambda channel: grpc_predict_v2_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(infer_request(*TASK)),
    ),
}


@pytest.mark.parametrize("method", CALLS)
async def test_a_service_refuses_the_plan_of_another_profile(system: System, method: str) -> None:
    address, call = CALLS[method]
    async with open_channel(getattr(system, address)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(caught.value).reason == "PROFILE_MISMATCH"


async def test_a_gateway_with_newer_prompts_fails_the_request_and_says_what_to_do(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = system.service._admission.profiles  # one mapping, which the policies read too
    newer = _with_other_prompts(profiles["scripted"])
    monkeypatch.setitem(profiles, "scripted", newer)
    with pytest.raises(RequestError) as caught:
        await system.client.ask("[scores=0:0.9 slm_eos=5]")
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "PROFILE_MISMATCH"
    assert "restart the processes" in str(caught.value)


def _changed(profile: Profile, **fields: Any) -> Profile:
    """A profile of its own with other fields: `digest` is computed again."""
    given = {info.alias or name: getattr(profile, name) for name, info in Profile.model_fields.items()}
    return Profile(**{**given, **fields})


def _with_other_prompts(profile: Profile) -> Profile:
    return _changed(profile, prompts=profile.prompts.model_copy(update={"question": "Answer: {question}"}))


async def test_other_thresholds_and_prices_need_no_restart_of_a_model_process(system: System) -> None:
    profile = system.service._admission.profiles["scripted"]
    stages = tuple(stage.model_copy(update={"threshold": 0.5}) for stage in profile.stages)
    prices = replace(profile.prices, version="other")
    assert _changed(profile, stages=stages, prices=prices).digest == profile.digest
    assert _with_other_prompts(profile).digest != profile.digest
