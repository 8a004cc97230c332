"""docs/quickstart.md, word by word: each command that has an output prints it, with models that follow a script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import in_environment
from tests.e2e.test_local_stack import ours

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
# Commands, and directly below them what they print.
_STEP = re.compile(r"^```sh\n((?:(?!```).*\n)*)```\n\n```text\n((?:(?!```).*\n)*)```", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    command: str
    expected: str

    def matches(self, printed: str) -> bool:
        """`...` stands for any text, also for none."""
        parts = [re.escape(part) for part in self.expected.strip().split("...")]
        return re.fullmatch(r"\s*" + ".*?".join(parts) + r"\s*", printed, re.DOTALL) is not None


def steps() -> Iterator[Step]:
    for command, expected in _STEP.findall(PAGE.read_text()):
        yield Step(command.replace("source .venv/bin/activate\n", ""), expected)


def test_every_output_of_the_page_stands_below_its_command() -> None:
    assert len(list(steps())) == PAGE.read_text().count("```text")


@pytest.mark.timeout(900)
def test_each_command_prints_what_the_page_says(variables: Mapping[str, str], tmp_path: Path) -> None:
    """In one shell's environment and folder, as somebody types them."""
    state = tmp_path / "state"
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "examples", folder / "examples")
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
                done = run(step.command, folder)
                if done.returncode or not step.matches(done.stdout):
                    wrong.append(f"{step.command}\n{done.stdout}\nexit code {done.returncode}")
        finally:
            run("tandem down", folder)
    assert wrong == [], "\n\n".join(wrong)
    assert ours(state) == []


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The commands, up to the first that fails."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
