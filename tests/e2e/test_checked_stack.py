"""The local stack with the answer checker in use: a profile whose small model tries, and whose code is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.request import urlopen

import pytest

from tests.conftest import wait_until
from tests.e2e.collector import Collector
from tests.e2e.conftest import LocalStack, in_environment
from tests.stacks import start_stack

pytestmark = pytest.mark.timeout(900)
CHECKER = "answer-checker"
CODE = 'def f(x):\n    """[slm=```python|def_f(x):|____return_x+1|``` slm_eos=39]\n    >>> f(1)\n    2\n    """\n'
SLOW = "[ms=50 slm_eos=5] what?"  # slow enough to be cancelled while the large model writes


@pytest.fixture(scope="module")
def checked(
    variables: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[LocalStack]:
    """A stack of its own, which the commands of these tests find."""
    with in_environment({**variables, "TANDEM_STATE": str(tmp_path_factory.mktemp("checked"))}):
        stack = start_stack("scripted-checked")
        try:
            yield LocalStack(stack, collector)
        finally:
            stack.down()


@pytest.fixture
def local(checked: LocalStack) -> LocalStack:
    """Every process of it is ready."""
    if "exited" in {row.state.split()[0] for row in checked.stack.status()}:
        checked.start(CHECKER)
    checked.wait_until_ready()
    return checked


def tandem(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command."""
    command = [sys.executable, "-c", "from tandem.cli import main; main()", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def findings() -> dict[str, dict[str, Any]]:
    """Of `tandem check`, by name."""
    return {finding["name"]: finding for finding in tandem("check", SLOW)[1]["checks"]}


def test_code_is_run_against_the_example_in_its_prompt(local: LocalStack) -> None:
    _, result = tandem("ask", "--code", CODE)
    assert result["stop"]["reason"] == "verified"
    assert [(check["name"], check["verdict"]) for check in result["checks"]] == [("python_examples", "pass")]
    with urlopen(f"http://127.0.0.1:{local.stack.ports[CHECKER]['metrics']}/metrics", timeout=60) as reply:
        assert 'tandem_checks_total{check="python_examples",verdict="pass"}' in reply.read().decode()


def test_a_check_is_a_span_of_the_request_below_the_workers(local: LocalStack) -> None:
    _, result = tandem("ask", "--code", CODE)

    def edges() -> set[tuple[str, str]]:
        spans = local.collector.of_trace(result["trace_id"])
        owners = {span.span_id: service for service, span in spans}
        return {(owners.get(span.parent_span_id, ""), service) for service, span in spans}

    wait_until(lambda: ("tandem-worker", "tandem-answer-checker") in edges())


def test_tandem_check_has_an_answer_checked(local: LocalStack) -> None:
    found = findings()
    assert found["checks"]["ok"], found
    assert all(finding["ok"] for finding in found.values()), found


def test_a_checker_that_is_gone_is_named_and_costs_no_answer(local: LocalStack) -> None:
    local.kill(CHECKER)
    states = {row["name"]: row["state"] for row in tandem("status")[1]["processes"]}
    assert states.pop(CHECKER).startswith("exited")
    assert set(states.values()) == {"ready"}
    found = findings()
    assert found["answer"]["ok"]
    assert not found["checks"]["ok"]
    assert "was not checked" in found["checks"]["found"]
