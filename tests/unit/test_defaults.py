"""Defaults of a user's own: one name for an option and its line in the config file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tandem.cli import _load
from tandem.cli.defaults import OF_ASKING, set_variables
from tandem.errors import UserError
from tests.command import tandem


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.toml"
    monkeypatch.setenv("TANDEM_CONFIG", str(file))
    return file


def given(verb: str, *arguments: str) -> dict[str, object]:
    command = _load(verb)
    with command.make_context("tandem", list(arguments)) as context:
        return dict(context.params)


def test_an_option_overrides_the_file(config: Path) -> None:
    config.write_text("max_cost = 0.5\nmax_tokens = 7\n")
    found = given("ask", "--max-cost", "0.125", "why?")
    assert (found["max_cost"], found["max_tokens"]) == (0.125, 7)


def test_a_threshold_of_each_stage_comes_from_the_file(config: Path) -> None:
    config.write_text('threshold = ["0=0.9", "1=0.8"]\n')
    assert given("chat")["threshold"] == ["0=0.9", "1=0.8"]


def test_the_profile_of_a_local_stack_comes_from_either(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('profile = "mine"\n')
    assert given("up")["profile"] == ["mine"]
    monkeypatch.setenv("TANDEM_PROFILE", "another")
    assert given("up")["profile"] == ["another"]


def test_ask_and_chat_have_every_option_that_takes_a_default() -> None:
    for verb in ("ask", "chat"):
        options = {option.name for option in _load(verb).params}
        assert set(OF_ASKING) - options <= {"verbose", "quiet", "max_llm_tokens"}, verb


def test_the_address_and_other_variables_stand_in_the_file_too(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_ADDRESS", raising=False)
    config.write_text('address = "127.0.0.1:1"\nca_file = "/none"\n')
    program = (
        "from tandem.cli.defaults import set_variables; set_variables(); import os; print(os.environ['TANDEM_ADDRESS'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "127.0.0.1:1\n"


def test_one_profile_in_the_file_is_a_list_where_a_command_takes_several(config: Path) -> None:
    config.write_text('profile = "mine"\n')
    commands = [_load("ask"), *_load("models").commands.values()]
    options = [option for command in commands for option in command.params if option.name == "profile"]
    assert {str(option.default) for option in options} == {"mine", "['mine']"}


@pytest.mark.parametrize(("content", "why"), [("max_costs = 1", "no setting max_costs"), ("=", "cannot be read")])
def test_a_file_that_makes_no_sense_is_named(config: Path, content: str, why: str) -> None:
    config.write_text(content)
    with pytest.raises(UserError, match=why):
        set_variables()
    assert tandem("version").returncode == 1
