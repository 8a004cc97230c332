"""kill -9 of a process, or a client that leaves, in the middle of a call: one whole call or none, and bill and trace as
the log has them.
"""

# ruff: noqa: F811

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tandem import Client, to_dict
from tandem.v1 import tandem_pb2
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import LocalStack
from tests.e2e.test_kills import (  # noqa: F401
    Watched,
    answer,
    insight,
    kill_and_start,
    kill_and_start_beside_temporal,
)
from tests.stacks import restart, scripted_stack

pytestmark = pytest.mark.timeout(900)
CALL = '<call>w_{"at":_"Rome"}</call>'
TOOL = {"name": "w", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}


def spoken(said: str) -> Any:
    return [{"role": "user", "content": said}]


@pytest.mark.parametrize(("role", "component"), [("llm", "insight-generator"), ("slm", "slm-executor")])
def test_a_model_that_dies_in_the_middle_of_a_call_leaves_one_whole_call(
    local: LocalStack, hold: Hold, kill_and_start: Any, role: str, component: str
) -> None:
    said = f"[{role}={CALL} {role}_eos={len(CALL) + 1} {role}_hold=12:{hold} llm={CALL} llm_eos={len(CALL) + 1}]"
    when = insight(12) if role == "llm" else answer(12)
    options = {"tools": [TOOL], **({} if role == "llm" else {"threshold": 0.5})}
    result = Watched(local, spoken(said), when, kill_and_start(component), **options).result()
    assert [(each["name"], each["arguments"]) for each in result["tool_calls"]] == [("w", '{"at": "Rome"}')]
    assert (result["answer"], result["complete"]) == ("", True)
    usage = result["usage"][role]
    assert usage["output_tokens"] + usage["discarded_tokens"] >= len(CALL) + 1


def test_a_worker_that_dies_in_the_middle_of_a_call_leaves_one_whole_call(local: LocalStack, hold: Hold) -> None:
    said = f"[llm={CALL} llm_eos={len(CALL) + 1} llm_hold=12:{hold}]"

    def kill_and_start() -> None:
        kill_and_start_beside_temporal(local, hold, "worker")

    result = Watched(local, spoken(said), insight(12), kill_and_start, tools=[TOOL]).result()
    assert [(each["name"], each["arguments"]) for each in result["tool_calls"]] == [("w", '{"at": "Rome"}')]
    usage = result["usage"]["llm"]
    assert usage["output_tokens"] == len(CALL) + 1
    assert (usage["discarded_tokens"] >= 12) == (result["attempts"] > 1)


@pytest.mark.parametrize("role", ["llm", "slm"])
def test_a_client_that_leaves_in_the_middle_of_a_call_is_billed_what_was_written(local: LocalStack, role: str) -> None:
    said = f"[{role}={CALL} {role}_eos={len(CALL) + 1} {role}_hold=12]"
    options: dict[str, Any] = {} if role == "llm" else {"threshold": 0.5}
    when, request_id = insight(12) if role == "llm" else answer(12), uuid4().hex
    stream = local.client.solve(spoken(said), request_id=request_id, tools=[TOOL], **options)
    assert any(when(event) for event in stream)
    stream.close()
    running = (tandem_pb2.REQUEST_STATE_UNSPECIFIED, tandem_pb2.REQUEST_STATE_RUNNING)
    wait_until(lambda: local.client.get(request_id).state not in running, 60)
    found = local.client.get(request_id)
    assert found.state == tandem_pb2.REQUEST_STATE_CANCELLED
    result = to_dict(found.result)
    local.trace_agrees_with(result)
    usage = result["usage"][role]
    assert sum(usage[f"{each}_tokens"] for each in ("output", "overrun", "discarded")) == 12
    assert (result["tool_calls"], result["usage"]["slm" if role == "llm" else "llm"]["output_tokens"]) == ([], 0)
    assert result["cost"]["usd"] > 0


def test_a_worker_that_dies_while_two_small_models_answer_leaves_what_both_say_and_an_exact_bill(
    hold: Hold, tmp_path: Path
) -> None:
    """The first has ended by then; the second goes on after its first character, and so writes that twice."""
    said = f"[slm={CALL} slm_eos={len(CALL) + 1} second={CALL} second_eos={len(CALL) + 1} second_hold=1:{hold}]"
    journal, engines = tmp_path / "tokens", {"slm": "slm", "second_slm": "second"}

    def written(engine: str) -> int:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return sum(int(line.split()[2]) for line in lines if line.startswith(f"{engine} output "))

    values = {"TANDEM_TEST_JOURNAL": str(journal)}
    with (
        scripted_stack(values, profile="scripted-together") as stack,
        Client(stack.gateway) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asking = pool.submit(client.ask, spoken(said), tools=[TOOL])
        wait_until(lambda: (written("slm"), written("second")) == (len(CALL) + 1, 1), 120)
        restart(stack, "worker")
        hold.release()
        result = to_dict(asking.result(300))
        assert [(each["name"], each["arguments"]) for each in result["tool_calls"]] == [("w", '{"at": "Rome"}')]
        assert (result["answered_by"], result["checks"][0]["verdict"]) == ("slm", "pass")
        for role, engine in engines.items():
            usage = result["usage"][role]
            assert usage["output_tokens"] + usage["discarded_tokens"] == written(engine)
        assert written("llm") == 0
