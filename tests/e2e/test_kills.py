"""Three kills by name: what a reader has of a request whose process dies in its middle, and that its bill is whole.

What any other kill leaves the campaign of faults asks (tests/e2e/chaos): an answer or a clear error, and an exact bill.
No test depends on the clock: a model waits at the token of the kill (`hold`), and nothing is tried again before the
process that was killed is ready (`LocalStack.without_retries`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tandem import Client, Event, InsightDelta, Restarted, to_dict
from tandem.v1 import tandem_pb2
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import LocalStack
from tests.stacks import restart, scripted_stack

pytestmark = pytest.mark.timeout(900)
QUESTION = "[llm_hold={at}:{hold} slm_eos=9 llm=abcdefg scores=48:0.9]"


class Watched:
    """One request, read in a thread; `act` runs once, when the insight has so many tokens."""

    def __init__(self, local: LocalStack, hold: Hold, tokens: int, act: Callable[[], None]) -> None:
        self._local, self._tokens, self._act = local, tokens, act
        self.events = list[Event]()
        question = QUESTION.format(at=tokens, hold=hold)
        self._stream = local.client.solve(question, request_id=uuid4().hex)
        self._reading = ThreadPoolExecutor(1).submit(self._read)

    def _read(self) -> None:
        is_done = False
        for event in self._stream:
            self.events.append(event)
            if not is_done and isinstance(event, InsightDelta) and event.tokens >= self._tokens:
                is_done = True
                threading.Thread(target=self._act).start()

    def result(self) -> dict[str, Any]:
        self._reading.result(300)
        result = to_dict(self.events[-1].result)
        self._local.trace_agrees_with(result)
        return result

    def insight(self) -> str:
        """What a reader has who obeys `restarted`."""
        text = ""
        for event in self.events:
            if isinstance(event, Restarted) and event.role == "llm":
                text = text[: event.tokens]
            if isinstance(event, InsightDelta):
                text += event.text
        return text


def test_a_generator_that_comes_back_goes_on_from_its_last_stage(local: LocalStack, hold: Hold) -> None:
    def kill_and_start() -> None:
        with local.without_retries():
            local.kill("insight-generator")
            hold.release()
            local.start("insight-generator")
            local.wait_until_ready("insight-generator")

    request = Watched(local, hold, 24, kill_and_start)
    result = request.result()
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 3), result["notes"]
    assert result["attempts"] > 1
    llm = result["usage"]["llm"]
    assert llm["output_tokens"] == 48
    assert llm["discarded_tokens"] == 8  # generated after stage 1 (16 tokens), before the kill
    assert request.insight() == ("abcdefg" * 7)[:48]
    assert any(isinstance(event, Restarted) for event in request.events)


def test_a_client_reads_on_when_the_gateway_comes_back(
    local: LocalStack, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.client.clients._GIVE_UP_AFTER_SECONDS", 600.0)  # on a machine of any speed

    def kill_and_start() -> None:
        local.kill("gateway")
        hold.release()
        local.start("gateway")

    request = Watched(local, hold, 10, kill_and_start)
    result = request.result()
    assert (result["stop"]["reason"], result["attempts"]) == ("sufficient", 1)
    assert request.insight() == ("abcdefg" * 7)[:48]
    assert [event.kind for event in request.events].count("accepted") == 1


ANSWER = "_\\boxed{18}"
WHOLE = len(ANSWER) + 1
ROLES = {"slm": "slm", "second": "second_slm", "third": "third_slm", "llm": "llm"}
"""Of the journal's engines."""


def written(journal: Path) -> Counter[str]:
    """Tokens that the engines have counted, by role."""
    counted = Counter[str]()
    for engine, kind, count in (line.split() for line in journal.read_text().splitlines()):
        counted[ROLES[engine]] += int(count) if kind == "output" else 0
    return counted


def test_of_two_small_models_that_answer_together_one_dies_and_the_large_model_answers_at_an_exact_bill(
    tmp_path: Path, hold: Hold
) -> None:
    journal = tmp_path / "tokens"
    journal.touch()
    values, script = {"TANDEM_TEST_JOURNAL": str(journal)}, " ".join(f"{e}={ANSWER} {e}_eos={WHOLE}" for e in ROLES)
    with (
        scripted_stack(values, profile="scripted-together") as stack,
        Client(stack.gateway) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        assert client.ask(f"[{script}] what?", task="answer").stop.reason == tandem_pb2.STOP_REASON_VERIFIED
        before = written(journal)
        asking = pool.submit(client.ask, f"[{script} second_hold=1:{hold}] what?", task="answer", keep_running=True)
        wait_until(lambda: written(journal) - before == Counter(slm=WHOLE, second_slm=1))
        restart(stack, "second-slm-executor")
        hold.release()
        result = to_dict(asking.result(300))
        counted = written(journal) - before
    assert (result["answer"], result["answered_by"], result["checks"][0]["verdict"]) == ("18", "llm", "unknown")
    assert any("small model did not answer" in note for note in result["notes"])
    kinds = ("output", "overrun", "discarded")
    billed = Counter({role: sum(used[f"{kind}_tokens"] for kind in kinds) for role, used in result["usage"].items()})
    assert +billed == counted
