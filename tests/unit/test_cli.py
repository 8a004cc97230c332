"""The command line as a whole: help, examples, `--json`, completion, and tables of any width."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tandem.cli import GROUPS, OF_THE_LAB, VERBS, _load, _with_json_target, app
from tandem.cli.examples import EXAMPLES
from tandem.cli.parts import needs
from tandem.errors import MissingParts
from tandem.paths import REPOSITORY


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command by its path: "ask", "request get"."""
    for name in VERBS:
        command = _load(name)
        if hasattr(command, "commands"):
            yield from ((f"{name} {each}", leaf) for each, leaf in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(leaves())


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    main = "import sys; sys.argv[0] = 'tandem'; from tandem.cli import main; main()"
    command = [sys.executable, "-c", main, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **env})


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_takes_json_and_its_help_ends_with_examples(path: str) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert "--json" in options
    assert EXAMPLES[path]
    shown = CliRunner().invoke(app, [*path.split(), "--help"])
    assert shown.exit_code == 0
    assert shown.output.rstrip().endswith(EXAMPLES[path][-1])


@pytest.mark.parametrize("path", COMMANDS)
def test_the_examples_use_options_that_exist(path: str) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    for example in EXAMPLES[path]:
        words = shlex.split(example.partition(" | ")[0].replace("$(", "").replace(")", ""), comments=False)
        if words[-1] == "--version":
            continue
        while "=" in words[0]:  # variables before the command
            del words[0]
        assert words[: 1 + len(path.split())] == ["tandem", *path.split()], example
        nested = options | {"--detach", "--version"} if "tandem" in words[1:] else options
        assert {word for word in words if word.startswith("--")} <= nested, example


def test_no_example_is_of_a_command_that_is_gone() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


def test_an_option_means_the_same_in_every_command() -> None:
    kinds: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    kinds.setdefault(option, set()).add(str(parameter.type_descriptor.annotation))
    different = {option for option, found in kinds.items() if len(found) > 1}
    # --json: of `tandem eval` it may name a file; --profile: `models` takes several; --jaeger: `up` starts one, others
    # are told of one;
    # --large, --small: an address, of `plan` a share of right answers; --by: what each table can be grouped by;
    # --tenant: `promises` takes several.
    assert different <= {"--json", "--profile", "--jaeger", "--large", "--small", "--by", "--tenant"}


def test_help_lists_commands_by_who_uses_them() -> None:
    shown = run("--help").stdout
    titles = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[: 1 + len(GROUPS)] == ["Options:", *(f"{title}:" for title in GROUPS)]
    assert {line.split()[0] for line in shown.splitlines() if re.match(r"  [a-z]", line)} >= set(VERBS)


def test_the_version_is_an_option_too() -> None:
    assert run("--version").stdout.split()[0] == "tandem"


@pytest.mark.parametrize(
    ("words", "found"),
    [("tandem st", "status"), ("tandem ask --max-c", "--max-cost"), ("tandem request fol", "follow")],
)
def test_a_shell_completes_verbs_and_options(words: str, found: str) -> None:
    done = run(_TANDEM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert found in done.stdout.split()


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--json"], ["--json", "-"]),
        (["--json", "--n", "3"], ["--json", "-", "--n", "3"]),
        (["--json", "figures.json"], ["--json", "figures.json"]),
        (["--data", "x"], ["--data", "x"]),
    ],
)
def test_eval_prints_its_json_unless_a_file_is_named(given: list[str], taken: list[str]) -> None:
    assert _with_json_target(given) == taken


def test_a_message_in_a_pipe_is_one_line() -> None:
    done = run("ask", "why?", TANDEM_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_app_lists_every_verb() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == set(VERBS)  # type: ignore[attr-defined]


def test_the_verbs_that_only_the_lab_has_are_named_to_who_has_it_not() -> None:
    project = tomllib.loads((REPOSITORY / "lab" / "pyproject.toml").read_text())["project"]
    assert set(OF_THE_LAB) == project["entry-points"]["tandem.verbs"].keys()
    words = r"`tandem plan` needs the package tandem-lab: run `make develop` in "
    with pytest.raises(MissingParts, match=words), needs("plan", "lab"):
        import_module("tandem-lab")
