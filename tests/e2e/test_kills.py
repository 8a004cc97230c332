"""kill -9 of each process in the middle of a request: it ends with an answer or a clear error, and its bill is whole.

No test depends on the clock: a model waits at the token of the kill (`hold`), and nothing is tried again before the
process that was killed is ready (`LocalStack.without_retries`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from tandem import AnswerDelta, Event, InsightDelta, RequestError, Restarted, to_dict
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.e2e.conftest import LocalStack

pytestmark = pytest.mark.timeout(900)


class Watched:
    """One request, read in a thread; `act` runs once, when `when` is first true of an event."""

    def __init__(
        self, local: LocalStack, question: str, when: Callable[[Any], bool], act: Callable[[], None], **options: Any
    ) -> None:
        self._local = local
        self.id, self.events = uuid4().hex, list[Event]()
        self.error: RequestError | None = None
        self._stream = local.client.solve(question, request_id=self.id, **options)
        self._when, self._act = when, act
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        is_done = False
        try:
            for event in self._stream:
                self.events.append(event)
                if not is_done and self._when(event):
                    is_done = True
                    threading.Thread(target=self._act).start()
        except RequestError as error:
            self.error = error

    def result(self, seconds: float = 300) -> dict[str, Any]:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"no end; last event: {self.events[-1:]}"
        assert self.error is None, self.error
        result = to_dict(self.events[-1].result)
        self._local.trace_agrees_with(result)
        return result

    def text(self, kind: str) -> str:
        """What a reader has who obeys `restarted`."""
        text = ""
        for event in self.events:
            if isinstance(event, Restarted) and (event.role == "llm") == (kind == "insight_delta"):
                text = text[: event.tokens]
            if event.kind == kind:
                text += event.text
        return text


def insight(tokens: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, InsightDelta) and event.tokens >= tokens


def answer(tokens: int) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, AnswerDelta) and event.tokens >= tokens


@pytest.fixture
def kill(local: LocalStack, hold: Hold) -> Callable[[str], Callable[[], None]]:
    """kill -9 of a process; the model that waited goes on."""

    def killing(component: str) -> Callable[[], None]:
        def act() -> None:
            local.kill(component)
            hold.release()

        return act

    return killing


@pytest.fixture
def kill_and_start(local: LocalStack, hold: Hold) -> Callable[[str], Callable[[], None]]:
    """kill -9 of a process, and its start; until it is ready nothing is tried again."""

    def killing(component: str) -> Callable[[], None]:
        def act() -> None:
            with local.without_retries():
                local.kill(component)
                hold.release()
                local.start(component)
                local.wait_until_ready(component)

        return act

    return killing


def kill_and_start_beside_temporal(local: LocalStack, hold: Hold, component: str) -> None:
    """For a process that needs Temporal to become ready."""
    local.kill(component)
    hold.release()
    local.start(component)


def test_a_generator_that_comes_back_goes_on_from_its_last_stage(
    local: LocalStack, hold: Hold, kill_and_start: Any
) -> None:
    question = f"[llm_hold=24:{hold} slm_eos=9 llm=abcdefg scores=48:0.9]"
    request = Watched(local, question, insight(24), kill_and_start("insight-generator"))
    result = request.result()
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 3), result["notes"]
    assert result["attempts"] > 1
    llm = result["usage"]["llm"]
    assert llm["output_tokens"] == 48
    assert llm["discarded_tokens"] == 8  # generated after stage 1 (16 tokens), before the kill
    assert request.text("insight_delta") == ("abcdefg" * 7)[:48]
    assert any(isinstance(event, Restarted) for event in request.events)


def test_a_generator_that_stays_dead_leaves_the_small_model_alone(local: LocalStack, hold: Hold, kill: Any) -> None:
    request = Watched(local, f"[llm_hold=24:{hold} slm_eos=9]", insight(24), kill("insight-generator"))
    result = request.result()
    assert result["stop"]["reason"] == "llm_unavailable"
    assert result["answer"]
    llm = result["usage"]["llm"]
    assert llm["discarded_tokens"] == 24
    assert llm["input_tokens"] > 0
    assert result["cost"]["usd_by_role"]["llm"] > 0
    assert any("large model failed" in note for note in result["notes"])


def test_a_worker_that_comes_back_ends_the_request(local: LocalStack, hold: Hold) -> None:
    def kill_and_start() -> None:
        kill_and_start_beside_temporal(local, hold, "worker")

    question = f"[llm_hold=20:{hold} slm_eos=9 llm=abcdefg scores=48:0.9]"
    request = Watched(local, question, insight(20), kill_and_start)
    result = request.result()
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 3)
    assert request.text("insight_delta") == ("abcdefg" * 7)[:48]
    llm = result["usage"]["llm"]
    assert llm["output_tokens"] == 48
    assert llm["discarded_tokens"] >= 4
    assert result["attempts"] > 1


def test_a_dead_scorer_lets_the_request_go_on(local: LocalStack, hold: Hold, kill: Any) -> None:
    question = f"[llm_hold=5:{hold} slm_eos=9 scores=48:0.9]"
    request = Watched(local, question, insight(5), kill("sufficiency-scorer"))
    result = request.result()
    assert result["stop"]["reason"] == "best_stage"
    assert [stage["score"] is None for stage in result["stages"]] == [False, True, True, True]
    assert result["answer"]
    assert any("not scored" in note for note in result["notes"])


def test_an_executor_that_comes_back_goes_on_from_its_last_token(
    local: LocalStack, hold: Hold, kill_and_start: Any
) -> None:
    question = f"[slm_hold=10:{hold} scores=0:0.9 slm=a slm_eos=40]"
    request = Watched(local, question, answer(10), kill_and_start("slm-executor"))
    result = request.result()
    slm = result["usage"]["slm"]
    assert result["attempts"] > 1
    assert request.text("answer_delta") == result["reasoning"]
    assert slm["output_tokens"] >= 40
    assert slm["discarded_tokens"] <= 1
    assert slm["input_tokens"] > len("user: ") * 2


def test_an_executor_that_stays_dead_is_a_clear_error_with_a_bill(local: LocalStack, hold: Hold, kill: Any) -> None:
    question = f"[slm_hold=5:{hold} scores=16:0.9 slm_eos=40]"
    request = Watched(local, question, answer(5), kill("slm-executor"))
    with pytest.raises(AssertionError):
        request.result()
    assert request.error is not None
    assert (request.error.code, request.error.reason) == (grpc.StatusCode.UNAVAILABLE, "SLM_UNAVAILABLE")
    found = local.client.get(request.id)
    assert found.state == tandem_pb2.REQUEST_STATE_FAILED
    local.trace_agrees_with(to_dict(found.result))
    assert found.result.usage.slm.discarded_tokens >= 5
    assert found.result.usage.llm.output_tokens >= 16
    assert found.result.cost.usd > 0


def test_a_client_reads_on_when_the_gateway_comes_back(
    local: LocalStack, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tandem.client.clients._GIVE_UP_AFTER_SECONDS", 600.0
    )  # until it is back, on a machine of any speed

    def kill_and_start() -> None:
        kill_and_start_beside_temporal(local, hold, "gateway")

    request = Watched(local, f"[llm_hold=10:{hold} slm_eos=9 llm=abcdefg]", insight(10), kill_and_start)
    result = request.result()
    assert result["stop"]["reason"] == "best_stage"
    assert request.text("insight_delta") == ("abcdefg" * 7)[:48]
    assert result["attempts"] == 1
    assert [event.kind for event in request.events].count("accepted") == 1


def test_without_redis_a_request_ends_with_an_answer_that_says_so(local: LocalStack, hold: Hold, kill: Any) -> None:
    request = Watched(local, f"[llm_hold=20:{hold} slm_eos=9]", insight(20), kill("redis"))
    result = request.result()
    assert result["stop"]["reason"] == "llm_unavailable"
    assert result["answer"]
    assert any("request log" in note for note in result["notes"])
    assert result["usage"]["llm"]["discarded_tokens"] >= 20


def test_a_cancel_without_redis_still_ends_the_request(local: LocalStack) -> None:
    def kill_and_cancel() -> None:
        local.kill("redis")
        local.client.cancel(request.id)

    request = Watched(local, "[llm_hold=20]", insight(20), kill_and_cancel)
    result = request.result()
    assert result["stop"]["reason"] == "cancelled"
    assert sum(result["usage"]["llm"][f"{s}_tokens"] for s in ("output", "overrun", "discarded")) >= 20


def test_an_attempt_that_redis_failed_is_made_again_and_the_first_is_billed(local: LocalStack, hold: Hold) -> None:
    """The large model goes on while Redis is dead, and its attempt fails. What that had logged is written into the
    empty Redis that comes back, so that the next attempt goes on after stage 1.
    """

    def kill_and_start() -> None:
        with local.without_retries():
            local.kill("redis")
            hold.release()
            local.wait_until_running("insight-generator", 0)
            local.start("redis")
            local.wait_until_ready("redis")

    question = f"[llm_hold=20:{hold} slm_eos=9 llm=abcdefg scores=48:0.9]"
    request = Watched(local, question, insight(20), kill_and_start)
    result = request.result()
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 3), result["notes"]
    assert result["attempts"] > 1
    assert result["usage"]["llm"]["output_tokens"] == 48
    assert result["usage"]["llm"]["discarded_tokens"] >= 20 - 16
    assert any("was started" in note for note in result["notes"])


def test_after_every_kill_the_stack_heals(local: LocalStack) -> None:
    for component in ("insight-generator", "worker", "redis"):
        local.kill(component)
    local.heal()
    result = local.client.ask("[scores=16:0.9 slm_eos=5]")
    assert (result.stop.reason, list(result.notes)) == (tandem_pb2.STOP_REASON_SUFFICIENT, [])
