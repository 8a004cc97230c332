"""kill -9 of a process, or a client that leaves, in the middle of a call, and of an answer or a program that two small
models give: one whole answer or none, and bill and trace as the log has them.
"""

# ruff: noqa: F811

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tandem import Client, RequestError, to_dict
from tandem.local.supervisor import Stack
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
from tests.stacks import heal, restart, scripted_stack

pytestmark = pytest.mark.timeout(900)
CALL = '<call>w_{"at":_"Rome"}</call>'
PROGRAM = "def f(x):\n    return x + 1"
TOOL = {"name": "w", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}


def spoken(said: str) -> Any:
    return [{"role": "user", "content": said}]


@pytest.mark.parametrize(("role", "component"), [("llm", "insight-generator"), ("slm", "slm-executor")])
def test_a_model_that_dies_in_the_middle_of_a_call_leaves_one_whole_call(
    local: LocalStack, hold: Hold, kill_and_start: Any, role: str, component: str
) -> None:
    said = f"[{role}={CALL} {role}_eos={len(CALL) + 1} {role}_hold=12:{hold} llm={CALL} llm_eos={len(CALL) + 1}]"
    when = insight(12) if role == "llm" else answer(12)
    options = {"tools": [TOOL], **({} if role == "llm" else {"max_llm_tokens": 0})}
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
    options: dict[str, Any] = {} if role == "llm" else {"max_llm_tokens": 0}
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


@dataclass(frozen=True)
class Kind:
    """`text`: what every model writes, as scripts have it; `question` has a place for the script."""

    text: str
    question: Any
    options: dict[str, Any]

    def asked(self, script: str) -> Any:
        said = self.question.replace("SCRIPT", f"[{script}]")
        return spoken(said) if "tools" in self.options else said

    def is_whole(self, result: dict[str, Any]) -> bool:
        calls = [(each["name"], each["arguments"]) for each in result["tool_calls"]]
        if "tools" in self.options:
            return calls == [("w", '{"at": "Rome"}')]
        return not calls and result["answer"] == (PROGRAM if "code" in self.options.values() else "18")


FUNCTION = 'def f(x):\n    """SCRIPT\n    >>> f(1)\n    2\n    """\n'
KINDS = {
    "call": Kind(CALL, "SCRIPT", {"tools": [TOOL]}),
    # Where a small model goes on its script begins again, at whatever token: the last box counts.
    "answer": Kind("_\\boxed{18}", "SCRIPT what?", {"task": "answer"}),
    "program": Kind(
        f"```python|{PROGRAM}|```".replace("\n", "|").replace(" ", "_"),
        FUNCTION,
        {"task": "code", "checks": ["python_agreement"]},
    ),
}
ENGINES = {"slm": "slm", "second_slm": "second", "third_slm": "third", "llm": "llm"}


class Together:
    """A stack of small models that are asked together, and what its engines have counted themselves."""

    def __init__(self, stack: Stack, client: Client, journal: Path) -> None:
        self.stack, self.client, self._journal, self._pool = stack, client, journal, ThreadPoolExecutor(1)
        self._before = self._counts()

    def _counts(self) -> Counter[tuple[str, str]]:
        roles = {engine: role for role, engine in ENGINES.items()}
        found = Counter[tuple[str, str]]()
        for line in self._journal.read_text().splitlines():
            engine, kind, count = line.split()
            found[roles[engine], kind] += int(count)
        return found

    def counted(self) -> Counter[tuple[str, str]]:
        """Tokens by role and kind since the request was asked."""
        return self._counts() - self._before

    def _agree(self, kind: Kind, script: str) -> bool:
        result = self.client.ask(kind.asked(script), **kind.options)
        return result.stop.reason == tandem_pb2.STOP_REASON_VERIFIED

    def ask(
        self, request_id: str, hold: str, held: str = "second_slm", kind: Kind = KINDS["call"]
    ) -> Future[tandem_pb2.SolveResult]:
        """Both small models write the same; one has written it all where the other waits after a token."""
        heal(self.stack)
        whole = len(kind.text) + 1
        script = " ".join(f"{engine}={kind.text} {engine}_eos={whole}" for engine in ENGINES.values())
        wait_until(lambda: self._agree(kind, script), 120)  # the worker's channels may still wait before they connect
        self._before = self._counts()
        said = kind.asked(f"{script} {ENGINES[held]}_hold=1{hold}")
        options = {**kind.options, "request_id": request_id, "keep_running": True}
        asking = self._pool.submit(self.client.ask, said, **options)
        has_first = held == "second_slm" or kind is not KINDS["program"]  # else the second waits for the first
        expected = {"slm": whole if held != "slm" else 1, "second_slm": 1 if held != "slm" else whole * has_first}
        wait_until(lambda: {role: self.counted()[role, "output"] for role in expected} == expected, 120)
        return asking


def billed(result: dict[str, Any]) -> Counter[tuple[str, str]]:
    kinds = {"input": ("input",), "output": ("output", "overrun", "discarded")}
    return +Counter(
        {
            (role, kind): sum(usage[f"{each}_tokens"] for each in parts)
            for role, usage in result["usage"].items()
            for kind, parts in kinds.items()
        }
    )


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    journal = tmp_path_factory.mktemp("together") / "tokens"
    journal.touch()
    values = {"TANDEM_TEST_JOURNAL": str(journal)}
    with scripted_stack(values, profile="scripted-together") as stack, Client(stack.gateway) as client:
        yield Together(stack, client, journal)


PROCESSES = ["worker", "slm-executor", "second-slm-executor", "redis", "gateway", "temporal"]
OWN = PROCESSES[:3]


@pytest.mark.parametrize(
    ("kind", "component"),
    [
        pytest.param(kind, component, marks=[] if kind == "call" or component in OWN else pytest.mark.nightly)
        for kind in KINDS
        for component in PROCESSES
    ],
)
def test_whatever_dies_while_two_small_models_answer_leaves_one_answer_and_an_exact_bill(
    together: Together, hold: Hold, kind: str, component: str
) -> None:
    """Where one's own process died, or Redis stayed away for longer than it waits (on a busy machine), another model
    has answered, and a note says so; else what both say is taken. A program is asked for again of a process that is
    back in time.
    """
    held = "slm" if component == "slm-executor" else "second_slm"
    asking = together.ask(uuid4().hex, f":{hold}", held, KINDS[kind])
    restart(together.stack, component)
    hold.release()
    result = to_dict(asking.result(300))
    assert KINDS[kind].is_whole(result)
    assert billed(result) == together.counted()
    said = "small model failed" if kind == "program" else "small model did not answer"
    is_away = any(said in note for note in result["notes"])
    is_own = component.endswith("slm-executor")
    assert component == "redis" or is_away == is_own or (kind == "program" and is_own)
    if kind == "program":  # the next small model agrees with the one that is left
        assert (result["answered_by"], result["stop"]["reason"]) == (
            "third_slm" if is_away else "second_slm",
            "verified",
        )
    else:
        expected = ("llm", "unknown") if is_away else ("slm", "pass")
        assert (result["answered_by"], result["checks"][0]["verdict"]) == expected


def test_a_caller_who_cancels_while_two_small_models_answer_is_billed_what_was_written(together: Together) -> None:
    request_id = uuid4().hex
    asking = together.ask(request_id, "")
    together.client.cancel(request_id)
    with suppress(RequestError):
        asking.result(60)
    wait_until(lambda: together.client.get(request_id).HasField("result"), 60)
    result = to_dict(together.client.get(request_id).result)
    assert (result["stop"]["reason"], result["tool_calls"]) == ("cancelled", [])
    assert billed(result) == together.counted()
    assert together.counted()["second_slm", "output"] == 1
