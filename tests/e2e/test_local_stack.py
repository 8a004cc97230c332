"""`tandem` as a user types it: up, ask, down; nothing is left behind, whatever goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import psutil
import pytest

from tandem.local.planning import open_stack
from tandem.local.supervisor import Stack
from tandem.v1 import execution_pb2, execution_pb2_grpc, insight_pb2_grpc
from tests import command
from tests.conftest import Hold, wait_until
from tests.e2e.conftest import LocalStack, in_environment

pytestmark = pytest.mark.timeout(900)
BOUND_SECONDS = 300.0
MAIN = [sys.executable, "-c", "from tandem.cli import main; main()"]
RESULT_KEYS = [
    "request_id", "profile", "question", "answer", "reasoning", "stop", "stages", "usage", "cost", "timings_ms",
    "trace_id", "attempts",
]  # fmt: skip


def tandem(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what starts and ends stacks, and what a shell sees."""
    return subprocess.run(
        [*MAIN, *arguments],
        capture_output=True, text=True, timeout=BOUND_SECONDS, env={**os.environ, **(env or {})},
    )  # fmt: skip


@contextlib.contextmanager
def stack_of(variables: Mapping[str, str], *options: str) -> Iterator[Stack]:
    """What `tandem up` with these options starts in this environment."""
    with in_environment(variables):
        up = tandem("up", *options)
        assert up.returncode == 0, up.stderr
        stack = open_stack()
        assert stack is not None
        try:
            yield stack
        finally:
            stack.down()


def interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would everything that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ours(state: Path) -> list[psutil.Process]:
    """Processes that a stack in this state folder left: by their environment, or by where they work."""
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and is_of(state, p)]


def is_of(state: Path, process: psutil.Process) -> bool:
    try:
        return process.cwd() == str(state) or process.environ().get("TANDEM_STATE") == str(state)
    except (psutil.Error, FileNotFoundError):  # it is another user's, or about to end
        return False


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path))
    yield tmp_path
    for process in ours(tmp_path):
        process.kill()


def test_ask_prints_what_was_written_alone_in_a_pipe_and_its_final_value_where_that_is_wanted(
    local: LocalStack,
) -> None:
    question = r"[ms=5 scores=16:0.9 slm=\boxed{4}_ slm_eos=12] what?"
    done = tandem("ask", question)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("x" * 16 + r"\boxed{4}")
    final = tandem("ask", "--final", question)
    assert (final.returncode, final.stdout, final.stderr) == (0, "4\n", "")


def test_ask_prints_the_stages_the_stop_and_the_bill_where_they_are_wanted(local: LocalStack) -> None:
    done = command.tandem("ask", "-v", r"[ms=5 scores=16:0.9 slm=\boxed{4}_ slm_eos=12] what?")
    assert done.returncode == 0, done.stderr
    for words in (
        "scores 0.900",
        "untrained",
        "large model stopped",
        "answer   4",
        "sufficient at stage 1",
        "bill",
        "estimate",
    ):
        assert words in done.stdout


def test_json_has_every_key_and_the_engines_counted_what_is_billed(local: LocalStack) -> None:
    def totals() -> tuple[int, int]:
        found = []
        for component, stub in (
            ("insight-generator", insight_pb2_grpc.InsightGeneratorStub),
            ("slm-executor", execution_pb2_grpc.SlmExecutorStub),
        ):
            with grpc.insecure_channel(local.stack.address(component)) as channel:
                info = stub(channel).GetModelInfo(execution_pb2.GetModelInfoRequest(), timeout=60)  # type: ignore[no-untyped-call]
                found.append(info.output_tokens_total)
        return found[0], found[1]

    before = totals()
    questions = [f"[ms=3 scores={16 * (1 + i % 3)}:0.9 slm_eos={6 + i}] {i}" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda q: tandem("ask", "--json", q), questions))
    results = [json.loads(run.stdout) for run in runs]
    assert all(list(result)[: len(RESULT_KEYS)] == RESULT_KEYS for result in results)
    for role, made in zip(("llm", "slm"), (a - b for a, b in zip(totals(), before, strict=True)), strict=True):
        billed = [r["usage"][role] for r in results]
        assert sum(u["output_tokens"] + u["overrun_tokens"] + u["discarded_tokens"] for u in billed) == made


def test_a_request_can_be_looked_at_followed_and_cancelled(local: LocalStack) -> None:
    request = command.tandem("ask", "--detach", "[llm_hold=5]").stdout.strip()
    assert json.loads(command.tandem("request", "get", request, "--json").stdout)["state"] == "running"
    assert "cancelled" in command.tandem("request", "cancel", request).stdout
    wait_until(lambda: json.loads(command.tandem("request", "get", request, "--json").stdout)["state"] == "cancelled")
    followed = command.tandem("request", "follow", request)
    assert followed.returncode == 1
    assert "cancelled at stage" in followed.stdout
    assert "bill" in followed.stdout
    assert command.tandem("request", "get", "nobody").returncode == 1


def test_usage_errors_exit_with_2_and_say_what_to_do(local: LocalStack) -> None:
    for arguments in (
        ["ask", " "],
        ["ask", "--threshold", "x", "why?"],
        ["ask", "--profile", "nobody", "why?"],
        ["beans"],
    ):
        done = command.tandem(*arguments)
        assert done.returncode == 2, done
        assert done.stderr


def test_an_interrupted_ask_cancels_and_still_shows_the_bill(local: LocalStack) -> None:
    process = subprocess.Popen(
        [*MAIN, "ask", "-v", "[llm_hold=20]"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=interruptible,
    )
    assert process.stdout is not None
    while "large model" not in (line := process.stdout.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=BOUND_SECONDS)[0]
    assert process.returncode == 1
    assert "cancelled at stage" in rest
    assert "bill" in rest


def test_status_tells_who_died_and_nothing_is_restarted(local: LocalStack) -> None:
    assert command.tandem("status").returncode == 0
    local.kill("sufficiency-scorer")
    done = command.tandem("status", "--json")
    states = {row["name"]: row["state"] for row in json.loads(done.stdout)["processes"]}
    assert done.returncode == 1
    assert states.pop("sufficiency-scorer").startswith("exited")
    assert set(states.values()) == {"ready"}


def test_a_temporal_that_comes_back_ends_the_request(local: LocalStack, hold: Hold) -> None:
    """It is away while the large model generates all that is left."""
    request = command.tandem("ask", "--detach", f"[llm_hold=5:{hold} slm_eos=5]").stdout.strip()
    local.wait_until_running("insight-generator", 1)
    local.kill("temporal")
    hold.release()
    local.wait_until_running("insight-generator", 0)
    local.start("temporal")
    wait_until(
        lambda: (
            json.loads(command.tandem("request", "get", request, "--json").stdout or "{}").get("state") == "completed"
        ),
        BOUND_SECONDS,
    )


def test_up_takes_free_ports_and_down_leaves_nothing(elsewhere: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with_default = 50050
        try:
            taken.bind(("127.0.0.1", with_default))
            taken.listen()
        except OSError:
            pass  # the session's own stack has it: taken all the same
        up = tandem("up", "--profile", "scripted", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["ports"]["gateway"]["main"] != with_default
    assert "already up" in tandem("up").stdout
    assert ours(elsewhere)
    assert tandem("down").returncode == 0
    assert ours(elsewhere) == []
    assert not (elsewhere / "stack.json").exists()
    ended = re.findall(r"stopped: (\S+)", (elsewhere / "supervisord.log").read_text())
    assert ended[0] == "http-gateway"
    assert {"redis", "temporal"} <= set(ended[-3:])  # what the others store in ends last
    assert "not up" in tandem("down").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(elsewhere: Path, number: signal.Signals) -> None:
    words = [*MAIN, "up", "--profile", "scripted"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=interruptible)
    wait_until(lambda: len(ours(elsewhere)) > 3)
    process.send_signal(number)
    assert process.wait(BOUND_SECONDS) != 0
    assert ours(elsewhere) == []


def test_a_process_that_does_not_start_is_named_with_its_log(elsewhere: Path) -> None:
    done = tandem("up", "--profile", "scripted", env={"TANDEM_ENGINE": "tests.fakes:no_such_engine"})
    assert done.returncode == 1
    assert "no_such_engine" in done.stderr
    assert ours(elsewhere) == []


def test_without_a_stack_ask_says_what_to_do(elsewhere: Path) -> None:
    done = command.tandem("ask", "why?", TANDEM_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert "tandem up" in done.stderr


def test_doctor_says_for_each_failure_what_to_do(elsewhere: Path) -> None:
    done = command.tandem("doctor", "--json", TANDEM_MODELS=str(elsewhere / "none"), TANDEM_PROFILES_PATH="")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert next(c for c in found["checks"] if c["name"] == "models")["advice"] == "run `tandem models pull`"
    assert all(c["ok"] or c["advice"] for c in found["checks"])
    assert found["settings"]["TANDEM_MODELS"]["from"] == "environment"


def test_each_process_shows_its_metrics(local: LocalStack) -> None:
    command.tandem("ask", "[scores=16:0.9 slm_eos=5]")
    expected = {
        "gateway": "tandem_gateway_streams",
        "worker": "tandem_requests_total",
        "insight-generator": "gen_ai_server_time_to_first_token_seconds_bucket",
        "slm-executor": 'tandem_engine_tokens_total{kind="output",role="slm"}',
        "sufficiency-scorer": 'tandem_engine_tokens_total{kind="scored",role="scorer"}',
    }
    for component, series in expected.items():
        port = local.stack.ports[component]["metrics"]
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
            text = reply.read().decode()
        assert series in text, component
        # What the alert on lost spans reads.
        assert "otel_sdk_processor_span_processed_total" in text, component
        assert "otel_sdk_exporter_span_exported_total" in text, component


def test_what_holds_questions_is_for_this_user_alone(local: LocalStack) -> None:
    local.client.ask("[scores=0:0.9 slm_eos=5]")
    folder = local.stack.folder
    files = [*folder.glob("temporal.db*"), *(folder / "logs").iterdir(), *folder.glob("supervisord.*")]
    files = [file for file in files if file.is_file()]
    assert len(files) > 5
    assert [file.name for file in files if file.stat().st_mode & 0o077] == []


def test_requests_are_listed_by_what_they_cost(local: LocalStack) -> None:
    command.tandem("ask", "--tenant", "lists", "[scores=16:0.9 slm_eos=5]")
    found: list[dict[str, Any]] = []

    def is_listed() -> bool:
        found[:] = json.loads(
            command.tandem("request", "list", "--where", "tenant = lists and cost > 0", "--json").stdout
        )
        return bool(found)

    wait_until(is_listed)
    assert found[0]["stage"] == 1
    assert found[0]["request_id"] in command.tandem("request", "list", "--where", "tenant = lists").stdout
    refused = command.tandem("request", "list", "--where", "colour = red")
    assert refused.returncode == 2
    assert "there is no field 'colour'" in refused.stderr
