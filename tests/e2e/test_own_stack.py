"""The local stack as a user has it: what dies is started again, and every command says what is wrong with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tandem import Client
from tandem.local import supervisor
from tandem.local.planning import open_stack
from tandem.local.ports import listens
from tandem.local.supervisor import ProcessStatus, Stack
from tandem.v1 import tandem_pb2
from tests import command
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import LocalStack, in_environment
from tests.e2e.test_local_stack import BOUND_SECONDS, MAIN, ours, tandem
from tests.stacks import kill

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def states(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The folders of two stacks that `tandem up` started at the same time; it restarts their processes."""
    folder = tmp_path_factory.mktemp("own")
    found = [folder / "own", folder / "other"]
    words = [*MAIN, "up", "--profile", "scripted"]
    started = [subprocess.Popen(words, env={**os.environ, "TANDEM_STATE": str(state)}) for state in found]
    try:
        assert [process.wait(BOUND_SECONDS) for process in started] == [0, 0]
        yield found
    finally:
        for state in found:
            tandem("down", env={"TANDEM_STATE": str(state)})
    assert [ours(state) for state in found] == [[], []]


def opened(state: Path) -> Stack:
    with in_environment({"TANDEM_STATE": str(state)}):
        stack = open_stack()
    assert stack is not None
    return stack


@pytest.fixture(scope="module")
def own_stack(states: list[Path]) -> Stack:
    return opened(states[0])


@pytest.fixture
def own(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("TANDEM_STATE", str(own_stack.folder))
    return own_stack


def rows(stack: Stack) -> dict[str, ProcessStatus]:
    return {row.name: row for row in stack.status()}


def is_healthy(stack: Stack) -> bool:
    return {row.state for row in stack.status()} == {"ready"}


# How a request goes on when its process comes back, test_kills.py shows; here the supervisor brings it back.
@pytest.mark.parametrize("victim", ["worker", "redis"])
def test_a_request_in_flight_survives_a_crash(own: Stack, hold: Hold, victim: str) -> None:
    wait_until(lambda: is_healthy(own))
    ended = rows(own)[victim].exits
    with Client(own.gateway) as client:
        events = client.solve(f"[llm_hold=20:{hold} slm_eos=9 scores=48:0.9]")
        for event in events:
            if event.kind == "insight_delta":
                break
        kill(own, victim)
        hold.release()
        *_, last = events
    assert last.kind == "completed"
    assert last.result.answer
    assert last.result.stop.reason == tandem_pb2.STOP_REASON_SUFFICIENT, last.result.notes
    wait_until(lambda: is_healthy(own))
    assert rows(own)[victim].exits == ended + 1
    assert f"{victim} ended" in command.tandem("status").stdout


def test_status_says_how_often_a_process_ended_and_how(own: Stack) -> None:
    wait_until(lambda: is_healthy(own))
    before = rows(own)["slm-executor"]
    kill(own, "slm-executor")
    wait_until(lambda: is_healthy(own))
    found = next(
        r for r in json.loads(command.tandem("status", "--json").stdout)["processes"] if r["name"] == "slm-executor"
    )
    assert (found["exits"], found["last_exit"]) == (before.exits + 1, "terminated by SIGKILL")
    assert found["pid"] != before.pid


def test_status_says_that_temporal_has_no_room(own: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: is_healthy(own))
    monkeypatch.setattr(supervisor, "_LEAST_FREE_BYTES", 1 << 62)
    states = {row.name: row.state for row in own.status()}
    assert "without room on its disk" in states.pop("temporal")
    assert set(states.values()) == {"ready"}


def test_up_refuses_another_profile_and_a_jaeger_that_does_not_run(own: Stack) -> None:
    for arguments, word in ((["--profile", "scripted-checked"], "profile scripted-checked"), (["--jaeger"], "Jaeger")):
        done = command.tandem("up", *arguments)
        assert done.returncode == 1
        assert word in done.stderr
        assert "tandem down" in done.stderr
    assert "already up" in command.tandem("up", "--profile", "scripted").stdout


def test_two_commands_never_work_on_one_stack_at_once(own: Stack) -> None:
    with FileLock(own.folder / "lock"):
        for verb in ("up", "down"):
            done = tandem(verb)
            assert done.returncode == 1
            assert "is at work in" in done.stderr
            assert "Traceback" not in done.stderr
    assert own.is_up()


def test_two_stacks_that_start_together_both_serve_and_one_whose_supervisor_is_dead_says_what_to_do(
    states: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = [opened(state) for state in states]
    ports = [port for stack in stacks for purposes in stack.ports.values() for port in purposes.values()]
    assert len(set(ports)) == len(ports)
    for state, stack in zip(states, stacks, strict=True):
        assert any(listens(process.pid, stack.ports["gateway"]["main"]) for process in ours(state))
    monkeypatch.setenv("TANDEM_STATE", str(states[1]))
    supervisor = psutil.Process(int((states[1] / "supervisord.pid").read_text()))
    os.kill(supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([supervisor], timeout=60)
    assert len(ours(states[1])) > 3
    for verb in ("status", "up"):
        done = tandem(verb)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "tandem down" in done.stderr
    assert tandem("down").returncode == 0
    assert ours(states[1]) == []


def test_up_starts_what_has_ended(local: LocalStack) -> None:
    local.kill("sufficiency-scorer")
    local.kill("worker")
    gateway = local.pid("gateway")
    done = tandem("up")
    assert done.returncode == 0, done.stderr
    assert "starting sufficiency-scorer, worker" in done.stdout
    assert command.tandem("status").returncode == 0
    assert local.pid("gateway") == gateway


def test_doctor_names_the_process_that_is_dead(local: LocalStack) -> None:
    local.kill("answer-checker")
    done = command.tandem("doctor", "--json")
    [check] = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "local stack"]
    assert done.returncode == 1
    assert check["found"] == "answer-checker is exited (terminated by SIGKILL)"
    assert "tandem up" in check["advice"]


def test_ask_says_which_process_is_dead_and_goes_on_when_it_is_back(local: LocalStack) -> None:
    local.kill("worker")
    process = subprocess.Popen(
        [*MAIN, "ask", "-v", "[scores=16:0.9 slm_eos=5]"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    line = process.stderr.readline()
    assert "worker is exited (terminated by SIGKILL)" in line
    local.start("worker")
    out, errors = process.communicate(timeout=BOUND_SECONDS)
    assert process.returncode == 0, errors
    assert "sufficient at stage 1" in out
