"""Every program in examples/ runs against the local stack and prints what its page promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import LocalStack

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
# Stage 1 (16 tokens) is sufficient; the small model answers 4.
QUESTION = r"[ms=3 scores=16:0.9 slm=\boxed{4}_ slm_eos=12] what is it?"
PROMISED = {
    "ask.py": ["answer   4", "stop     sufficient at stage 1", "slm", "bill"],
    "stream.py": ["[accepted ", "[stage 1 after 16 tokens]", "[stage 1 scores 0.900", "[completed: '4' for "],
    "budget_and_thresholds.py": ["profile's thresholds", "stop after stage 1", "small model only", "at most"],
    "resume_after_cut.py": ["left after ", "answer '4', paid once: "],
    "find_requests.py": ["stage 1   ", " requests, ", " of them cost more than a cent"],
}


def test_every_example_is_run() -> None:
    assert {file.name for file in (ROOT / "examples").glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_an_example_prints_what_it_promises(local: LocalStack, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), QUESTION],
        capture_output=True, text=True, timeout=300, env={**os.environ, "TANDEM_ADDRESS": local.stack.gateway},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in PROMISED[name]:
        assert words in done.stdout, done.stdout


@pytest.mark.parametrize("name", PROMISED)
def test_an_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text().splitlines()) < 60
