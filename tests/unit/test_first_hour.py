"""What a new user types and reads first: the install is quiet, and no command or name is a stranger's."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tandem.method.names import DISTRIBUTION

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", ["setup", "develop"])
def test_make_installs_without_a_list_of_packages(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    installs = re.findall(r"uv sync[^|;&]*", done.stdout)
    assert installs
    assert all("--quiet" in install for install in installs)


def test_the_command_belongs_to_the_distribution_that_messages_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION != "tandem"
    assert version(DISTRIBUTION) == project["version"]
    assert {each.value for each in entry_points(group="console_scripts", name="tandem")} == {"tandem.entry:main"}


def texts() -> Iterator[Path]:
    for pattern in ("*.md", "docs/*.md", "tandem/**/*.py", "services/**/*.py", "training/**/*.py", "deploy/Dockerfile"):
        yield from ROOT.glob(pattern)


def test_nothing_tells_a_user_to_install_the_strangers_package() -> None:
    wrong = re.compile(r"pip install '?tandem(?!_insights|-insights)|(?<!\.)tandem\[")
    assert [file for file in texts() if wrong.search(file.read_text())] == []


def test_no_document_types_a_program_that_make_installs_where_no_shell_finds_it() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    typed = re.compile(r"^(uv|pytest|ruff|mypy) |`uv ", re.MULTILINE)
    assert [file.name for file in documents if typed.search(file.read_text())] == []


def test_the_readme_says_how_tandem_is_typed_before_it_is_typed() -> None:
    text = (ROOT / "README.md").read_text()
    told = text.index(".venv/bin/activate")
    assert told < min(found.start() for found in re.finditer(r"`tandem [a-z]+", text))
