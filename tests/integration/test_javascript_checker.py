"""The example checker of another language: 40 tasks with known answers, and programs that try to leave its sandbox."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from services.answer_checker.sandbox.layers import NAMESPACES, probe
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.request.job import Step
from tandem.method.request.tasks import CheckTask
from tandem.paths import REPOSITORY
from tandem.v1 import tandem_pb2
from tests.javascript_tasks import TASKS
from workflows.activities.checking import OtherCheckers

pytestmark = [
    pytest.mark.skipif(not shutil.which("node"), reason="needs Node: `apt-get install nodejs`"),
    pytest.mark.skipif(NAMESPACES not in probe().holds, reason="the kernel gives no namespaces, and nothing would run"),
]
PASS, FAIL = tandem_pb2.VERDICT_PASS, tandem_pb2.VERDICT_FAIL
TWO = "f(1) => 1\nf(2) => 2"


FOLDER = REPOSITORY / "examples/checkers/javascript"


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    return loaded(FOLDER)


def loaded(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("javascript", folder / "checker.py")
    assert spec
    assert spec.loader
    module = sys.modules["javascript"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module)["_START_SECONDS"] = 120.0  # of Node, on a busy machine
    return module


@pytest.mark.parametrize("tasks", [TASKS[::5], pytest.param(TASKS, marks=pytest.mark.nightly)], ids=["8", "all 40"])
def test_of_40_tasks_right_programs_pass_and_wrong_ones_fail(
    checker: ModuleType, tasks: Sequence[tuple[str, str, str]]
) -> None:
    for examples, right, wrong in tasks:
        found = [checker.judged(program, checker.examples_in(examples), 5.0) for program in (right, wrong)]
        assert [each[0] for each in found] == [PASS, FAIL], (examples, found)


@pytest.mark.parametrize(
    "body",
    [
        "return require('fs').readFileSync('/etc/passwd', 'utf8')",
        "return process.getBuiltinModule ? process.getBuiltinModule('fs').readdirSync('/etc') : 1",
        "return process.binding('fs').readdir('/proc', 'utf8', false)",
        "return process.mainModule.require('child_process').execSync('true')",
        "const s = new (process.mainModule.require('net').Socket)(); return new Promise((_, no) => s.on('error', "
        "no).connect(1, '127.0.0.1'))",
        "while (true);",
        "const held = []; while (true) held.push(new Array(1e6).fill(1))",
        "process.exit(0)",
        "process.exit(70)",
        "process.exit(71)",
        "process.kill(process.pid, 'SIGKILL')",
        "for (let fd = 1; fd < 64; fd++) try { process.mainModule.require('fs').ftruncateSync(fd) } catch {}; "
        "process.exit(70)",
        "process.stdout.write('x'.repeat(1e8)); return n",
    ],
)
def test_a_program_that_tries_more_than_to_compute_fails_within_limits(checker: ModuleType, body: str) -> None:
    verdict, detail, _ = checker.judged(f"function f(n) {{ {body} }}", checker.examples_in(TWO), 2.0)
    assert verdict == FAIL, detail


def test_a_program_that_ends_when_its_time_does_is_no_fault_of_the_checker(checker: ModuleType) -> None:
    for milliseconds in range(270, 330, 6):
        program = f"for (const end = Date.now() + {milliseconds}; Date.now() < end;); const f = n => n"
        verdict, detail, _ = checker.judged(program, checker.examples_in(TWO), 0.3)
        assert verdict in (PASS, FAIL), detail


def test_a_checker_below_the_temporary_folder_runs_programs(tmp_path: Path) -> None:
    copied = loaded(shutil.copytree(FOLDER, tmp_path / "my checker"))
    held = [
        copied.judged(program, copied.examples_in(TWO), 5.0)[0] for program in ("const f = n => n", "const f = n => 1")
    ]
    assert held == [PASS, FAIL]


def test_a_slow_start_of_node_takes_nothing_of_the_programs_time(tmp_path: Path) -> None:
    copied = loaded(shutil.copytree(FOLDER, tmp_path / "checker"))
    runner = tmp_path / "checker/run.js"
    slow = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);\n"
    runner.write_text(slow + runner.read_text())
    found = [copied.judged(f"const f = n => {body}", copied.examples_in(TWO), 2.0) for body in ("n", "{ while (1); }")]
    assert [verdict for verdict, *_ in found] == [PASS, FAIL], found


@pytest.mark.parametrize(
    "fault", ["no run.js", "run.js does not load", "Node does not start", "Node is missing", "no process"]
)
def test_a_fault_of_the_checker_is_an_error_and_fails_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    copied = loaded(shutil.copytree(FOLDER, tmp_path / "checker"))
    if fault == "no run.js":
        (tmp_path / "checker/run.js").unlink()
    elif fault == "run.js does not load":
        (tmp_path / "checker/run.js").write_text("throw new Error('broken')")
    elif fault == "no process":
        broken = (tmp_path / "checker/checker.py").read_text().replace("os.fork()", "os.fork(1)")
        (tmp_path / "checker/checker.py").write_text(broken)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
        if fault == "Node does not start":
            (tmp_path / "node").write_text("#!/bin/sh\nexit 0\n")
            (tmp_path / "node").chmod(0o755)
    verdict, detail, _ = copied.judged("const f = n => 1", copied.examples_in(TWO), 5.0)
    assert verdict == tandem_pb2.VERDICT_ERROR, detail


@pytest.mark.parametrize("examples", ["", "f(1) => 1", "f(1) => 1\nf(2) => 1", "f(1) => one\nf(2) => two"])
def test_examples_that_one_value_satisfies_say_nothing(checker: ModuleType, examples: str) -> None:
    found = checker.judged("const f = n => 1", checker.examples_in(examples), 5.0)
    assert found[0] == tandem_pb2.VERDICT_UNKNOWN


@pytest.mark.asyncio
@pytest.mark.parametrize(("body", "verdict"), [("n", Verdict.PASS), ("1", Verdict.FAIL)])
async def test_a_worker_asks_it_as_any_check(checker: ModuleType, body: str, verdict: Verdict) -> None:
    server, port = checker.serve("127.0.0.1:0", [])
    others = OtherCheckers({"javascript_examples": f"127.0.0.1:{port}"})
    try:
        answer = f"Here it is:\n```js\nconst f = n => {body}\n```"
        task = CheckTask("r", f"Write f.\n\n{TWO}", answer, [], "code")
        [found] = await others.check([CheckSpec("javascript_examples")], task, Step("r", "scripted"))
    finally:
        await others.close()
        server.stop(None)
    assert found.verdict is verdict, found.detail
