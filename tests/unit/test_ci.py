"""What `.ci/run` says of its steps; `make` is a stub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = (
    "setup",
    "lint",
    "types",
    "protos-check",
    "docs",
    "package",
    "security",
    "audit",
    "tools",
    "workflows",
    "browser",
    "test",
)


@pytest.fixture
def run_ci(tmp_path: Path):
    def run(fails: str) -> subprocess.CompletedProcess[str]:
        make = tmp_path / "make"
        make.write_text(f'#!/bin/sh\n[ "$*" != "{fails}" ]\n')
        make.chmod(0o755)
        variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run([ROOT / ".ci/run"], env=variables, capture_output=True, text=True)

    return run


def table(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """How each step ended, from the table at the end."""
    rows = re.findall(r"^ +\d+ s  (ok|failed) +(.+)$", done.stdout, re.MULTILINE)
    return {step: outcome for outcome, step in rows}


def test_ci_prints_the_seconds_of_each_step(run_ci) -> None:
    done = run_ci("none")
    assert done.returncode == 0
    assert set(table(done).values()) == {"ok"}
    assert [*table(done)][: len(STEPS)] == list(STEPS)
    assert "run a question" in table(done)


def test_ci_ends_at_a_step_that_fails_and_still_prints_the_table(run_ci) -> None:
    done = run_ci("docs")
    assert done.returncode != 0
    assert table(done) == {"setup": "ok", "lint": "ok", "types": "ok", "protos-check": "ok", "docs": "failed"}


@pytest.mark.parametrize(("optional", "command"), [("audit", "audit"), ("browser", "tools TOOLS=browser")])
def test_ci_goes_on_where_a_network_or_a_browser_is_missing(run_ci, optional: str, command: str) -> None:
    done = run_ci(command)
    assert done.returncode == 0
    assert table(done)[optional] == "failed"
    assert table(done)["test"] == "ok"


def test_each_reason_to_skip_is_one_line_at_the_end_of_a_run(tmp_path: Path) -> None:
    """In two processes, as `make` runs it; no plugin but theirs is imported."""
    (tmp_path / "conftest.py").write_text("from tests.summary import pytest_terminal_summary")
    for name in ("test_a.py", "test_b.py"):
        helm = "@pytest.mark.skip(reason='needs helm: `make tools TOOLS=k8s` gets it')\ndef test_{}(): pass\n"
        text = "import pytest\n" + helm.format(1) + helm.format(2) + "def test_3(): pytest.skip('needs a disk')\n"
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist.plugin", "-n", "2", "."]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    found = re.findall(r"^ +(\d+)  (.+)$", done.stdout, re.MULTILINE)
    assert found == [("4", "needs helm: `make tools TOOLS=k8s` gets it"), ("2", "needs a disk")], done.stdout
