"""A request through the real gateway, Temporal, Redis and services; only the models follow a script."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import grpc
import pytest
from temporalio.client import WorkflowHandle

from tandem import AnswerDelta, Completed, Event, InsightDelta, RequestError, StageCompleted, to_dict
from tandem.method.shared import SLOT_COMPLETED
from tandem.request import solve_request
from tandem.v1 import tandem_pb2
from tests.integration.conftest import SPANS, System

pytestmark = pytest.mark.asyncio(loop_scope="session")

RESULT_KEYS = {
    "request_id", "profile", "question", "answer", "reasoning", "stop", "stages", "usage", "cost", "timings_ms",
    "trace_id", "attempts",
}  # fmt: skip


async def ask(system: System, question: str, **options: Any) -> dict[str, Any]:
    return to_dict(await asyncio.wait_for(system.client.ask(question, **options), 60))


async def events(system: System, question: str, **options: Any) -> list[Event]:
    return [event async for event in system.client.solve(question, **options)]


def kinds(seen: list[Event]) -> list[str]:
    return [event.kind for event in seen]


def made(usage: dict[str, Any]) -> int:
    return int(usage["output_tokens"] + usage["overrun_tokens"] + usage["discarded_tokens"])


async def idle(system: System) -> None:
    deadline = time.monotonic() + 10
    while not system.idle():
        assert time.monotonic() < deadline, f"still running: {system.llm.running} {system.slm.running}"
        await asyncio.sleep(0.01)


async def test_a_sufficient_stage_stops_the_large_model_and_the_small_one_answers(system: System) -> None:
    before = system.llm.counters.output_tokens, system.slm.counters.output_tokens
    seen = await events(system, r"[ms=5 scores=16:0.9 slm=\boxed{42}_ slm_eos=12] what?")
    result = to_dict(seen[-1].result)
    assert result.keys() >= RESULT_KEYS
    assert (result["answer"], result["stop"]["reason"], result["stop"]["stage"]) == ("42", "sufficient", 1)
    assert result["stop"]["score"] == pytest.approx(0.9, abs=1e-5)
    assert [s["stage"] for s in result["stages"]] == [0, 1]
    # The engine was halted, long before its cap of 48, and every token that it made is on the bill once.
    assert made(result["usage"]["llm"]) == system.llm.counters.output_tokens - before[0] < 48
    assert made(result["usage"]["slm"]) == system.slm.counters.output_tokens - before[1] == 12
    order = kinds(seen)
    assert order[0] == "accepted"
    assert order.index("stage_completed") < order.index("llm_stopped") < order.index("completed") == len(order) - 1
    text = "".join(e.text for e in seen if isinstance(e, AnswerDelta))
    assert text == result["reasoning"]
    assert result["timings_ms"]["cancel"] < 500
    await idle(system)


async def test_events_arrive_while_the_work_goes_on(system: System) -> None:
    started, first = time.monotonic(), 0.0
    async for event in system.client.solve("[ms=20 slm_eos=5]"):
        if isinstance(event, InsightDelta) and not first:
            first = time.monotonic() - started
    assert first < (time.monotonic() - started) / 2


async def test_an_easy_question_never_touches_the_large_model(system: System) -> None:
    before = system.llm.counters.input_tokens
    result = await ask(system, "[scores=0:0.95 slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 0)
    assert system.llm.counters.input_tokens == before
    assert result["usage"]["llm"]["input_tokens"] == 0
    assert result["cost"]["usd_by_role"]["llm"] == 0
    assert result["timings_ms"]["cancel"] is None


async def test_without_a_sufficient_stage_the_best_one_is_used_and_not_the_last(system: System) -> None:
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
    result = await ask(finishing_system, "[llm_eos=60 ms=10]")
    assert (result["stop"]["reason"], len(result["stages"])) == ("llm_finished", 4)
    assert result["complete"]
    assert (made(result["usage"]["llm"]), made(result["usage"]["slm"])) == (60, 0)


async def test_a_large_model_that_was_to_finish_has_answered_even_if_its_cap_cuts_it_off(
    finishing_system: System,
) -> None:
    seen = await events(finishing_system, "[scores=32:0.6,48:0.2 slm_eos=5 ms=5]")
    result = to_dict(seen[-1].result)
    assert (result["stop"]["reason"], result["complete"]) == ("llm_finished", False)
    assert (made(result["usage"]["llm"]), made(result["usage"]["slm"])) == (64, 0)
    assert [e.name for e in seen if isinstance(e, StageCompleted)] == ["one", "two", "three"]
    limited = await ask(finishing_system, "[scores=16:0.6 slm_eos=5]", max_llm_tokens=50)
    assert (limited["stop"]["reason"], made(limited["usage"]["llm"])) == ("budget", 48)


async def test_a_stage_that_cannot_pass_is_not_scored_where_the_large_model_may_finish(
    finishing_system: System,
) -> None:
    one = await ask(finishing_system, "[llm_eos=60]", thresholds={0: 1, 1: 1, 3: 1})
    assert ([s["stage"] for s in one["stages"]], one["stop"]["reason"]) == ([2], "llm_finished")
    none = await ask(finishing_system, "[llm_eos=60]", threshold=1)
    assert (none["stages"], none["stop"]["reason"]) == ([], "llm_finished")
    assert none["usage"]["scorer"]["input_tokens"] == 0


async def test_a_stage_that_does_not_suffice_is_read_while_the_large_model_goes_on(system: System) -> None:
    before = system.slm.counters.input_tokens
    at_once, later = [
        await ask(system, f"[ms=10 slm_eos=5 scores={stop}:0.9]") for stop in ("0", "32")
    ]  # stage 0 and stage 2
    assert (at_once["stop"]["stage"], later["stop"]["stage"]) == (0, 2)
    assert at_once["usage"]["slm"]["cached_input_tokens"] == 0
    used = later["usage"]["slm"]
    question = at_once["usage"]["slm"]["input_tokens"] + 1  # its script is one letter longer
    # Read once each: question and two stages. Found read: the question by stage 1, both by the answer.
    assert (used["input_tokens"], used["cached_input_tokens"]) == (question + 32, question + question + 16)
    assert system.slm.counters.input_tokens - before == at_once["usage"]["slm"]["input_tokens"] + used["input_tokens"]


async def test_what_was_read_ahead_for_nothing_is_on_the_bill(finishing_system: System) -> None:
    before = finishing_system.slm.counters.input_tokens
    result = await ask(finishing_system, "[llm_eos=60 ms=10]")
    assert (result["stop"]["reason"], made(result["usage"]["slm"])) == ("llm_finished", 0)
    read = result["usage"]["slm"]["input_tokens"]
    assert read == finishing_system.slm.counters.input_tokens - before > 32
    assert result["cost"]["usd_by_role"]["slm"] > 0


@pytest.mark.parametrize("ends", ["answer", "llm_finishes", "cancel"])
async def test_what_waits_to_be_read_ahead_holds_nothing_up(
    system: System, finishing_system: System, ends: str
) -> None:
    scripts = {"answer": "scores=16:0.9", "llm_finishes": "llm_eos=60", "cancel": "ms=100"}
    used = system if ends == "answer" else finishing_system
    began, request_id = time.monotonic(), uuid4().hex
    stream = used.client.solve(f"[ahead_ms=60000 slm_eos=5 {scripts[ends]}]", request_id=request_id)
    async for event in stream:
        if ends == "cancel" and isinstance(event, StageCompleted):
            await used.client.cancel(request_id)
    assert time.monotonic() - began < 20
    await idle(used)


async def test_code_is_asked_for_with_its_own_prompt_in_every_service(system: System, brief_system: System) -> None:
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


async def test_without_the_large_model_the_small_one_answers_alone_and_says_so(system: System) -> None:
    result = await ask(system, "[fail=llm slm_eos=5]")
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("llm_unavailable", 0)
    assert any("large model failed" in note for note in result["notes"])
    assert result["answer"]


async def test_without_the_small_model_the_request_fails_and_keeps_its_bill(system: System) -> None:
    request_id = uuid4().hex
    with pytest.raises(RequestError) as caught:
        await ask(system, "[fail=slm scores=16:0.9]", request_id=request_id)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SLM_UNAVAILABLE")
    found = await system.client.get(request_id)
    assert found.state == tandem_pb2.REQUEST_STATE_FAILED
    assert found.result.usage.llm.output_tokens >= 16
    assert found.result.cost.usd > 0


async def test_a_token_budget_ends_the_insight(system: System) -> None:
    result = await ask(system, "[slm_eos=5]", max_llm_tokens=20)
    assert result["stop"]["reason"] == "budget"
    assert made(result["usage"]["llm"]) == 20
    assert (await ask(system, "[slm_eos=5]", max_llm_tokens=0))["usage"]["llm"]["input_tokens"] == 0


@pytest.mark.parametrize("limit", [0.0006, 0.0008, 0.002])
async def test_a_bill_stays_within_its_limit(system: System, limit: float) -> None:
    result = await ask(system, "[slm_eos=500]", max_cost_usd=limit)
    assert result["cost"]["usd"] <= limit
    assert result["stop"]["reason"] in ("budget", "best_stage")


async def test_the_bill_adds_up(system: System) -> None:
    result = await ask(system, "[scores=16:0.9 slm_eos=9]")
    usage, cost = result["usage"], result["cost"]
    assert sum(cost["usd_by_role"].values()) == pytest.approx(cost["usd"])
    llm = usage["llm"]
    assert cost["usd_by_role"]["llm"] == pytest.approx((llm["input_tokens"] * 3 + made(llm) * 6) / 1e6)
    assert cost["tflops_full"] > cost["tflops_paper"] > 0
    assert cost["saved_ratio"] == pytest.approx(1 - cost["usd"] / cost["usd_llm_alone"])


async def test_scoring_a_later_stage_runs_only_its_new_tokens(system: System) -> None:
    result = await ask(system, "[slm_eos=3]")
    scorer = result["usage"]["scorer"]
    assert scorer["input_tokens"] < scorer["cached_input_tokens"]


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


async def test_cancel_stops_both_models_and_keeps_the_bill(system: System) -> None:
    for question, role in (("[ms=20]", "insight_delta"), ("[ms=20 scores=0:0.9 slm_eos=500]", "answer_delta")):
        request_id, last, is_cancelled = uuid4().hex, None, False
        async for event in system.client.solve(question, request_id=request_id):
            if event.kind == role and not is_cancelled:
                is_cancelled = True
                assert (await system.client.cancel(request_id)).state == tandem_pb2.REQUEST_STATE_RUNNING
            last = event
        assert last is not None
        assert last.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED
        assert last.result.cost.usd > 0
        assert system.idle()
        assert (await system.client.get(request_id)).state == tandem_pb2.REQUEST_STATE_CANCELLED
        assert (await system.client.cancel(request_id)).state == tandem_pb2.REQUEST_STATE_CANCELLED


async def test_a_workflow_cancelled_in_temporal_ends_with_its_bill(system: System) -> None:
    request_id, last, is_cancelled = uuid4().hex, None, False
    async for event in system.client.solve("[ms=20]", request_id=request_id):
        if isinstance(event, InsightDelta) and not is_cancelled:
            is_cancelled = True
            await system.temporal.get_workflow_handle(request_id).cancel()
        last = event
    assert last is not None
    assert last.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED
    assert made(to_dict(last.result.usage.llm)) >= 1
    assert system.idle()


async def test_a_client_that_goes_away_stops_the_work(system: System) -> None:
    request = solve_request("[ms=20]", request_id=uuid4().hex)
    call = system.client._stub.Solve(request)
    async for event in call:
        if event.HasField("insight_delta"):
            break
    call.cancel()
    await idle(system)
    result = await system.temporal.get_workflow_handle(request.request_id).result()
    assert result["stop"]["reason"] == "cancelled"
    assert result["usage"]["llm"]["input_tokens"] > 0


async def test_a_client_that_has_its_result_and_hangs_up_cancels_nothing(system: System) -> None:
    stream = system.service.Solve(solve_request("[scores=0:0.9 slm_eos=5]", request_id=uuid4().hex), None)
    async with aclosing(stream):  # closed where gRPC closes it when the client goes while it is being told the end
        async for event in stream:
            if event.HasField("completed"):
                break
    assert not system.service._farewells


async def test_an_end_that_temporals_long_poll_misses_is_asked_for_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = (await system.client.ask("[scores=0:0.9 slm_eos=5]")).request_id
    whole, polls = WorkflowHandle.result, []

    async def misses_once(handle: WorkflowHandle[Any, Any]) -> Any:
        polls.append(handle.id)
        return await (whole(handle) if len(polls) > 1 else asyncio.Event().wait())

    monkeypatch.setattr(WorkflowHandle, "result", misses_once)
    monkeypatch.setattr("services.gateway.temporal._ASK_AGAIN_SECONDS", 0.05)
    assert (await system.service._workflows.result(request_id))["request_id"] == request_id
    assert len(polls) > 1


async def test_text_that_is_written_faster_than_it_is_read_comes_in_larger_pieces(system: System) -> None:
    seen = await events(system, "[ms=1 slm_eos=60]")
    result = seen[-1].result
    answer = [e for e in seen if isinstance(e, AnswerDelta)]
    insight = [e for e in seen if isinstance(e, InsightDelta)]
    assert len(answer) < 30
    assert "".join(delta.text for delta in answer) == result.reasoning
    assert answer[-1].tokens == 60 == result.usage.slm.output_tokens
    ends = [e.tokens for e in seen if isinstance(e, StageCompleted)]
    assert set(ends) <= {delta.tokens for delta in insight}  # a stage's end is never inside of a piece


async def test_leaving_the_clients_stream_early_cancels_at_once(system: System) -> None:
    request_id = uuid4().hex
    async with aclosing(system.client.solve("[ms=20]", request_id=request_id)) as stream:
        async for event in stream:
            if isinstance(event, InsightDelta):
                break
    await idle(system)
    result = await system.temporal.get_workflow_handle(request_id).result()
    assert result["stop"]["reason"] == "cancelled"


async def test_what_was_told_as_the_end_stands(system: System) -> None:
    """A cancel may come between the telling and Temporal's own note of it, which then runs the last step anew."""
    earlier = await ask(system, "[scores=16:0.9 slm_eos=5]")
    told = await system.temporal.get_workflow_handle(earlier["request_id"]).result()
    request_id = uuid4().hex
    async with aclosing(system.client.solve("[llm_eos=21 ms=20]", request_id=request_id, keep_running=True)) as stream:
        await anext(stream)
        await system.log.publish_decision(request_id, SLOT_COMPLETED, "completed", {**told, "request_id": request_id})
        assert await system.temporal.get_workflow_handle(request_id).result() == {**told, "request_id": request_id}


async def test_a_cancel_after_the_end_changes_nothing(system: System) -> None:
    for _ in range(5):
        result = await ask(system, "[scores=16:0.9 slm_eos=5]")
        response = await system.client.cancel(result["request_id"])
        assert response.state == tandem_pb2.REQUEST_STATE_COMPLETED
        stored = await system.temporal.get_workflow_handle(result["request_id"]).result()
        assert stored["stop"]["reason"] == "sufficient"


async def test_a_client_that_has_its_answer_cancels_nothing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []

    async def note(request_id: str) -> None:
        cancelled.append(request_id)

    monkeypatch.setattr(system.client, "cancel", note)
    async with aclosing(system.client.solve("[scores=16:0.9 slm_eos=5]")) as stream:
        async for event in stream:
            if isinstance(event, Completed):
                break
    assert not cancelled


async def test_a_client_that_comes_back_reads_on_from_where_it_was(system: System) -> None:
    request = solve_request("[ms=10 slm_eos=20]", request_id=uuid4().hex, keep_running=True)
    call, insight = system.client._stub.Solve(request), ""
    async for event in call:
        insight += event.insight_delta.text
        request.resume_after = event.cursor
        if len(insight) >= 10:
            break
    call.cancel()
    seen = [event async for event in system.client._stub.Solve(request)]
    insight += "".join(event.insight_delta.text for event in seen)
    assert insight == "x" * 48
    assert seen[-1].completed.stop.reason == tandem_pb2.STOP_REASON_BEST_STAGE


async def test_a_repeated_request_id_joins_and_never_pays_twice(system: System) -> None:
    request_id, before = uuid4().hex, system.llm.counters.output_tokens
    question = "[ms=5 slm_eos=5]"
    first, second = await asyncio.gather(*(ask(system, question, request_id=request_id) for _ in range(2)))
    third = await ask(system, question, request_id=request_id)
    assert first == second == third
    assert system.llm.counters.output_tokens - before == made(first["usage"]["llm"])
    with pytest.raises(RequestError) as caught:
        await ask(system, "another question", request_id=request_id)
    assert caught.value.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"question": "  "}, "question", grpc.StatusCode.INVALID_ARGUMENT),
        ({"question": "x" * 401}, "question", grpc.StatusCode.INVALID_ARGUMENT),
        ({"profile": "nobody"}, "profile", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": -1.0}, "budget.max_cost_usd", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": float("nan")}, "budget.max_cost_usd", grpc.StatusCode.INVALID_ARGUMENT),
        ({"threshold": 1.5}, "stop.threshold", grpc.StatusCode.INVALID_ARGUMENT),
        ({"thresholds": {9: 0.5}}, "stop.thresholds", grpc.StatusCode.INVALID_ARGUMENT),
        ({"temperature": 3.0}, "sampling.temperature", grpc.StatusCode.INVALID_ARGUMENT),
        ({"request_id": "a b"}, "request_id", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": 1e-9}, "", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_bad_requests_name_the_field(system: System, options: dict[str, Any], field: str, code: object) -> None:
    with pytest.raises(RequestError) as caught:
        await ask(system, **{"question": "why?", **options})
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.reason


async def test_too_many_requests_are_refused_with_a_time_to_retry(system: System) -> None:
    limits = system.service._limits
    system.service._limits = type(limits)(1, limits.disconnect_grace)
    try:
        async with aclosing(system.client.solve("[ms=20]")) as stream:
            await anext(stream)
            with pytest.raises(RequestError) as caught:
                await ask(system, "[slm_eos=3]")
    finally:
        system.service._limits = limits
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.retry_after_s == 2.0


async def test_unknown_requests_are_not_found(system: System) -> None:
    for call in (system.client.get, system.client.cancel):
        with pytest.raises(RequestError) as caught:
            await call("nobody-asked-this")
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_many_requests_at_once_are_each_billed_for_what_the_engines_made(system: System) -> None:
    before = system.llm.counters.output_tokens, system.slm.counters.output_tokens, system.judge.counters.scored_tokens
    questions = [f"[ms=2 scores={16 * (1 + i % 3)}:0.9 slm_eos={5 + i}] {i}" for i in range(16)]
    results = await asyncio.gather(*(ask(system, q) for q in questions))
    assert sum(made(r["usage"]["llm"]) for r in results) == system.llm.counters.output_tokens - before[0]
    assert sum(made(r["usage"]["slm"]) for r in results) == system.slm.counters.output_tokens - before[1]
    scored = system.judge.counters.scored_tokens - before[2]
    assert sum(r["usage"]["scorer"]["input_tokens"] for r in results) == scored


async def test_one_request_is_one_trace_from_client_to_engine(system: System) -> None:
    result = await ask(system, "[scores=16:0.9 slm_eos=5]")
    deadline, orphans = time.monotonic() + 10, ["?"]
    while orphans and time.monotonic() < deadline:  # a span is exported when it ends, parents after their children
        await asyncio.sleep(0.02)
        spans = [s for s in SPANS.get_finished_spans() if f"{s.context.trace_id:032x}" == result["trace_id"]]
        ids = {span.context.span_id for span in spans}
        orphans = [span.name for span in spans if span.parent and span.parent.span_id not in ids]
    others = [s for s in SPANS.get_finished_spans() if s not in spans]
    names = {span.name for span in spans}
    assert not [s for s in others if (s.attributes or {}).get("tandem.request.id") == result["request_id"]]
    assert names >= {"chat scripted-llm", "chat scripted-slm", "evaluate scripted-slm"}
    assert orphans == []
    [root] = [
        span
        for span in spans
        if span.name == "/tandem.v1.TandemService/Solve" and "tandem.cost.total" in (span.attributes or {})
    ]
    assert root.attributes is not None
    assert root.attributes["tandem.cost.total"] == pytest.approx(result["cost"]["usd"])
    llm = next(span for span in spans if span.name == "chat scripted-llm")
    assert llm.attributes is not None
    assert llm.attributes["gen_ai.usage.output_tokens"] == made(result["usage"]["llm"])
    assert not any("question" in str(span.attributes) for span in spans)


async def test_profiles_say_whether_the_scorer_was_trained(system: System) -> None:
    listed = await system.client.profiles()
    assert (listed.default_profile, listed.profiles[0].scorer, listed.profiles[0].scorer_trained) == (
        "scripted",
        "untrained",
        False,
    )
