"""Where a request stops, and which model answers: real gateway, Temporal, Redis and services, scripted models."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import grpc
import pytest

from services.shared.process.channels import open_channel
from tandem import AnswerDelta, RequestError, Scored, StageCompleted, to_dict
from tandem.method.timeouts import Timeouts
from tandem.v1 import execution_pb2, insight_pb2_grpc, tandem_pb2
from tests.integration.asking import BOUND_SECONDS, RESULT_KEYS, ask, changed, events, forget, generated, idle, kinds
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_sufficient_stage_stops_the_large_model_and_the_small_one_answers(system: System) -> None:
    before = system.llm.counters.output_tokens, system.slm.counters.output_tokens
    seen = await events(system, r"[llm_hold=20 scores=16:0.9 slm=\boxed{42}_ slm_eos=12] what?")
    result = to_dict(seen[-1].result)
    assert result.keys() >= RESULT_KEYS
    assert (result["answer"], result["stop"]["reason"], result["stop"]["stage"]) == ("42", "sufficient", 1)
    assert result["stop"]["score"] == pytest.approx(0.9, abs=1e-5)
    assert [s["stage"] for s in result["stages"]] == [0, 1]
    # The stop reached the engine, which waits at its 20th token of 48; every token that it generated is billed once.
    assert generated(result["usage"]["llm"]) == system.llm.counters.output_tokens - before[0] == 20
    assert generated(result["usage"]["slm"]) == system.slm.counters.output_tokens - before[1] == 12
    order = kinds(seen)
    assert order[0] == "accepted"
    assert order.index("stage_completed") < order.index("llm_stopped") < order.index("completed") == len(order) - 1
    text = "".join(e.text for e in seen if isinstance(e, AnswerDelta))
    assert text == result["reasoning"]
    assert result["timings_ms"]["cancel"] >= 0
    await idle(system)


async def test_an_easy_question_never_touches_the_large_model(system: System) -> None:
    before = system.llm.counters.input_tokens
    result = await ask(system, "[scores=0:0.95 slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 0)
    assert system.llm.counters.input_tokens == before
    assert result["usage"]["llm"]["input_tokens"] == 0
    assert result["cost"]["usd_by_role"]["llm"] == 0
    assert result["timings_ms"]["cancel"] is None


async def test_without_a_sufficient_stage_the_best_one_is_used_not_the_last(system: System) -> None:
    result = await ask(system, "[scores=0:0.1,16:0.3,32:0.6,48:0.2 slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("best_stage", 2)
    assert [s["tokens"] for s in result["stages"]] == [0, 16, 32, 48]


async def test_a_large_model_that_ends_by_itself_has_answered(system: System) -> None:
    before = system.slm.counters.output_tokens
    result = await ask(system, r"[llm=\boxed{7}_ llm_eos=21]")
    assert (result["stop"]["reason"], result["answer"], result["complete"]) == ("llm_finished", "7", True)
    assert system.slm.counters.output_tokens == before
    assert result["usage"]["llm"]["output_tokens"] == 21


async def test_where_no_stage_suffices_the_large_model_may_finish(finishing_system: System) -> None:
    result = await ask(finishing_system, "[llm_eos=60 ms=50]")  # time to score the last stage before the end
    assert (result["stop"]["reason"], len(result["stages"])) == ("llm_finished", 4)
    assert result["complete"]
    assert (generated(result["usage"]["llm"]), generated(result["usage"]["slm"])) == (60, 0)


async def test_a_large_model_that_may_finish_has_answered_even_if_its_cap_ends_it(
    finishing_system: System,
) -> None:
    seen = await events(finishing_system, "[scores=32:0.6,48:0.2 slm_eos=5 ms=5]")
    result = to_dict(seen[-1].result)
    assert (result["stop"]["reason"], result["complete"]) == ("llm_finished", False)
    assert (generated(result["usage"]["llm"]), generated(result["usage"]["slm"])) == (64, 0)
    assert [e.name for e in seen if isinstance(e, StageCompleted)] == ["one", "two", "three"]
    limited = await ask(finishing_system, "[scores=16:0.6 slm_eos=5]", max_llm_tokens=50)
    assert (limited["stop"]["reason"], generated(limited["usage"]["llm"])) == ("budget", 48)


async def test_a_stage_that_cannot_pass_is_not_scored_where_the_large_model_may_finish(
    finishing_system: System,
) -> None:
    one = await ask(finishing_system, "[llm_eos=60]", thresholds={0: 1, 1: 1, 3: 1})
    assert ([s["stage"] for s in one["stages"]], one["stop"]["reason"]) == ([2], "llm_finished")
    none = await ask(finishing_system, "[llm_eos=60]", threshold=1)
    assert (none["stages"], none["stop"]["reason"]) == ([], "llm_finished")
    assert none["usage"]["scorer"]["input_tokens"] == 0


async def test_a_code_task_has_its_own_prompt_in_every_service(system: System, brief_system: System) -> None:
    plain, code = [await ask(system, "[scores=16:0.9 slm_eos=5]", code=code) for code in (False, True)]
    for role in ("llm", "slm", "scorer"):
        assert code["usage"][role]["input_tokens"] - plain["usage"][role]["input_tokens"] == len("complete "), role
    with pytest.raises(RequestError) as refused:
        await brief_system.client.ask("def f():", code=True)
    assert refused.value.field == "task"


async def test_a_failing_scorer_lets_the_large_model_go_on_and_says_so(system: System) -> None:
    result = await ask(system, "[fail=score slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("scorer_failed_open", 3)
    assert [s["score"] for s in result["stages"]] == [None] * 4
    assert any("was not scored" in note for note in result["notes"])
    assert result["answer"]


async def test_stages_that_redis_has_lost_are_not_waited_for(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timeouts, "stage_lost", timedelta(seconds=1))
    request_id, last = uuid4().hex, None
    async with asyncio.timeout(BOUND_SECONDS):
        async for event in system.client.solve("[score_ms=1500 slm_eos=5]", request_id=request_id):
            if isinstance(event, StageCompleted) and event.stage == 3:  # while the first of them is scored
                while system.llm.running:
                    await asyncio.sleep(0.01)
                await forget(system.log, request_id)
            last = event
    assert last is not None
    result = to_dict(last.result)
    assert (result["stop"]["reason"], result["answer"] != "") == ("best_stage", True)
    assert generated(result["usage"]["llm"]) == 48


async def test_a_stage_that_was_scored_is_answered_from_where_the_large_model_is_lost_then(
    finishing_system: System,
) -> None:
    """Here a stranger aborts it, which is no answer either."""
    async with open_channel(finishing_system.generator_address) as channel:
        stub = insight_pb2_grpc.InsightGeneratorStub(channel)
        request_id, last = uuid4().hex, None
        async for event in finishing_system.client.solve(
            "[llm_hold=20 slm_eos=5 scores=0:0.1,16:0.5]", request_id=request_id
        ):
            if isinstance(event, Scored) and event.stage == 1:
                await stub.Abort(
                    execution_pb2.AbortRequest(request_id=request_id, decided_at_unix_ms=time.time() * 1000)
                )
            last = event
    assert last is not None
    result = to_dict(last.result)
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("llm_unavailable", 1)
    assert result["cost"]["saved_ratio"] is None
    assert any("aborted, and not by this request" in note for note in result["notes"])
    assert result["answer"].startswith("y")
    assert generated(result["usage"]["llm"]) == 20


async def test_where_the_profile_lets_it_the_small_model_answers_for_a_large_one_that_failed_and_says_so_first(
    system: System,
) -> None:
    result = await ask(system, "[fail=llm slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("llm_unavailable", 0)
    assert result["notes"][0].startswith("the large model failed: ")
    assert result["complete"]
    assert (result["answered_by"], result["cost"]["saved_ratio"]) == ("slm", None)


async def test_else_the_request_fails_with_the_large_models_cause_and_its_bill(finishing_system: System) -> None:
    request_id, before = uuid4().hex, finishing_system.slm.counters.output_tokens
    with pytest.raises(RequestError, match=r"the large model 'scripted-llm' failed: the script says so") as caught:
        await ask(finishing_system, "[fail=llm slm_eos=5]", request_id=request_id)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "LLM_UNAVAILABLE")
    found = await finishing_system.client.get(request_id)
    assert found.state == tandem_pb2.REQUEST_STATE_FAILED
    assert found.result.HasField("cost")
    assert not found.result.cost.HasField("saved_ratio")
    assert finishing_system.slm.counters.output_tokens == before


async def test_no_other_model_answers_for_a_large_one_that_was_named_whatever_the_profile_says(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(finishing_system, monkeypatch, when_unavailable="small")
    assert (await ask(finishing_system, "[fail=llm slm_eos=5]"))["answered_by"] == "slm"
    with pytest.raises(RequestError) as caught:
        await ask(finishing_system, "[fail=llm slm_eos=5]", threshold=1)
    assert caught.value.reason == "LLM_UNAVAILABLE"


async def test_a_model_of_a_pair_is_named_in_the_profile_as_over_http(finishing_system: System) -> None:
    name, script = "scripted-finishing", "[scores=0:0.9 llm_eos=9 slm_eos=5]"
    of_pair, large, small = [await ask(finishing_system, script, profile=name + of) for of in ("", "/large", "/slm")]
    assert [each["profile"] for each in (of_pair, large, small)] == [name] * 3
    assert [each["answered_by"] for each in (of_pair, large, small)] == ["slm", "llm", "slm"]
    assert [each["usage"]["llm"]["output_tokens"] for each in (of_pair, large, small)] == [0, 9, 0]


async def test_without_the_small_model_the_request_fails_and_still_has_its_bill(system: System) -> None:
    request_id = uuid4().hex
    with pytest.raises(RequestError) as caught:
        await ask(system, "[fail=slm scores=16:0.9]", request_id=request_id)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SLM_UNAVAILABLE")
    found = await system.client.get(request_id)
    assert found.state == tandem_pb2.REQUEST_STATE_FAILED
    assert found.result.usage.llm.output_tokens >= 16
    assert found.result.cost.usd > 0


async def test_a_token_budget_caps_the_insight(system: System) -> None:
    result = await ask(system, "[slm_eos=5]", max_llm_tokens=20)
    assert result["stop"]["reason"] == "budget"
    assert generated(result["usage"]["llm"]) == 20
    assert (await ask(system, "[slm_eos=5]", max_llm_tokens=0))["usage"]["llm"]["input_tokens"] == 0


async def test_brief_mode_ends_stages_at_sections(brief_system: System) -> None:
    text = "Goal:_find_x.|Planning:_add.|Action:_2+2=4."
    question = f"[llm={text} llm_eos=44 scores=30:0.9 slm_eos=4]"
    result = await ask(brief_system, question)
    assert [(s["name"], s["tokens"]) for s in result["stages"]] == [
        ("question", 0),
        ("goal", 14),
        ("planning", 29),
        ("action", 44),
    ]
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 3)
