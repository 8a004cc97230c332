"""docs/first-hour.md, word by word: each step prints what the page says, with models that follow a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import in_environment
from tests.e2e.test_local_stack import ours

PAGE = Path(__file__).parents[2] / "docs" / "first-hour.md"
_STEP = re.compile(r"^### (\d+)\. (.+?)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
_BLOCK = r"```{}\n(.*?)```"


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    title: str
    command: str
    expected: str

    def matches(self, printed: str) -> bool:
        """`...` stands for any text, also for none."""
        parts = [re.escape(part) for part in self.expected.strip().split("...")]
        return re.fullmatch(r"\s*" + ".*?".join(parts) + r"\s*", printed, re.DOTALL) is not None


def steps() -> Iterator[Step]:
    for number, title, text in _STEP.findall(PAGE.read_text()):
        [command] = re.findall(_BLOCK.format("sh"), text, re.DOTALL)
        [expected] = re.findall(_BLOCK.format("text"), text, re.DOTALL)
        yield Step(int(number), title, command, expected)


def test_the_page_has_thirty_steps_in_order() -> None:
    assert [step.number for step in steps()] == list(range(1, 31))


@pytest.mark.timeout(900)
def test_each_step_prints_what_the_page_says(variables: Mapping[str, str], tmp_path: Path) -> None:
    """In one shell's environment and folder, as somebody types them."""
    state = tmp_path / "state"
    folder = tmp_path / "work"
    folder.mkdir()
    own = {
        "TANDEM_STATE": str(state),
        "TANDEM_PROFILE": "scripted",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    wrong = []
    with in_environment({**variables, **own}):
        try:
            for step in steps():
                printed = run(step.command, folder)
                if not step.matches(printed):
                    wrong.append(f"{step.number}. {step.title}\n{printed}")
        finally:
            run("tandem down", folder)
    assert wrong == [], "\n\n".join(wrong)
    assert ours(state) == []


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=300,
    )  # fmt: skip
    return done.stdout
