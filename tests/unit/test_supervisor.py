"""What supervisord is told, and what is said of the states that it reports."""

from __future__ import annotations

import configparser
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tandem.local.layout import ANSWERING, PROCESSES, Layout, Process
from tandem.local.programs import program
from tandem.local.supervisor import ProcessStatus, Stack
from tandem.local.supervisord import configuration, exits_in
from tests.stacks import SCRIPTED_PROFILES

PORTS = {process.name: dict(process.ports) for process in PROCESSES if process.name != "jaeger"}
WORKER = next(process for process in PROCESSES if process.name == "worker")
LOG = """\
2026-11-26 20:00:00,000 INFO spawned: 'worker' with pid 7
2026-11-26 20:00:01,000 WARN exited: worker (exit status 1; not expected)
2026-11-26 20:00:09,000 INFO exited: worker (exit status 0; expected)
2026-11-26 20:00:10,000 WARN exited: gateway (terminated by SIGKILL; not expected)
2026-11-26 20:00:11,000 INFO stopped: redis (exit status 0)
"""


@pytest.fixture(autouse=True)
def profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which keys of endpoints a process may read stands in the profile."""
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(SCRIPTED_PROFILES))


def parsed(layout: Layout) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(layout))
    return parser


@pytest.mark.parametrize(("restarts", "told"), [(True, "true"), (False, "false")])
def test_every_process_is_restarted_unless_a_test_wants_it_dead(tmp_path: Path, restarts: bool, told: str) -> None:
    parser = parsed(Layout(tmp_path, "scripted", PORTS, restarts=restarts))
    assert {parser[f"program:{name}"]["autorestart"] for name in PORTS} == {told}
    # With 0 a process counts as started at once, and supervisord waits for nothing before it starts it again.
    assert (int(parser["program:worker"]["startsecs"]) > 0) == restarts


def test_a_folder_with_a_space_and_a_percent_sign_reaches_the_program_whole(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "Application Support 100%", "scripted", PORTS)
    parser = parsed(layout)
    for process in layout.processes:
        command = parser[f"program:{process.name}"]["command"].replace("%%", "%")
        assert shlex.split(command) == program(layout, process).command


def test_a_stack_for_one_question_starts_the_http_gateway_and_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ready = list[str](), list[str]()

    def statuses(_: Stack, processes: Sequence[Process], __: Any) -> list[ProcessStatus]:
        return [ProcessStatus(p.name, "starting" if p.name == "http-gateway" else "ready", 1, "") for p in processes]

    monkeypatch.setattr(Stack, "supervisor", lambda _: nullcontext())
    monkeypatch.setattr(Stack, "_statuses", statuses)
    monkeypatch.setattr(Stack, "_start_unless_alive", lambda _, process, *__: started.append(process.name))
    Stack(tmp_path, "scripted", PORTS)._start_missing(lambda row: ready.append(row.name), ANSWERING)
    assert started[-1] == "http-gateway"
    assert set(started) - set(ready) == {"http-gateway"}


def test_only_ends_that_nobody_asked_for_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    assert exits_in(log) == {}
    log.write_text(LOG)
    assert exits_in(log) == {"worker": ["exit status 1", "exit status 0"], "gateway": ["terminated by SIGKILL"]}


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("BACKOFF", "restarting"),
        ("FATAL", "given up after 20 restarts"),
        ("EXITED", "exited (exit status 1)"),
        ("STOPPED", "stopped"),
    ],
)
def test_each_state_of_supervisord_says_what_it_means(tmp_path: Path, name: str, state: str) -> None:
    stack = Stack(tmp_path, "scripted", PORTS)
    info: dict[str, Any] = {"statename": name, "pid": 0}
    row = stack._status(WORKER, info, {"worker": ["exit status 2", "exit status 1"]})
    assert (row.state, row.pid, row.exits, row.last_exit) == (state, None, 2, "exit status 1")
