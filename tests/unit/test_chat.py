"""What a user types into `tandem chat`: pastes, lines, commands, and what is kept of it."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from tandem.cli import prompt
from tandem.cli.chat_commands import HELP, Commands
from tandem.cli.conversation_file import Conversation, last_conversation
from tandem.client.clients import Client
from tandem.errors import UserError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path))
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, keys: str) -> list[str]:
    monkeypatch.setattr(prompt, "create_output", lambda **_: DummyOutput())
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text(keys + "\x04")
        return list(prompt.typed())


def test_a_paste_of_three_lines_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(monkeypatch, "\x1b[200~one\r\ntwo\r\nthree\x1b[201~\rnext\r") == ["one\ntwo\nthree", "next"]


def test_escape_and_enter_begin_a_line_and_enter_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(monkeypatch, "one\x1b\rtwo\r") == ["one\ntwo"]


def test_the_history_of_what_was_typed_is_for_this_user_alone(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    typed(monkeypatch, "secret\r")
    file = state / "chat_history"
    assert "secret" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def commands(said: Conversation) -> Commands:
    pair = SimpleNamespace(llm="L", slm="S")
    profiles = [SimpleNamespace(name=name, **vars(pair)) for name in ("first", "second")]
    client = SimpleNamespace(profiles=lambda: SimpleNamespace(profiles=profiles, default_profile="first"))
    return Commands(cast(Client, client), said)


def spoken() -> Conversation:
    said = Conversation(system="Be short.")
    said.remember("My name is Ada.", "Hello Ada.")
    return said


def test_help_names_every_command() -> None:
    known = set(commands(spoken())._by_name) | {"exit"}
    assert set(re.findall(r"^/([a-z]+)", HELP, re.M)) == known


def test_a_question_may_begin_with_a_slash_and_an_unknown_command_is_not_asked() -> None:
    assert commands(spoken()).run("/etc/hosts: what is it?") is None
    with pytest.raises(UserError, match="no command /sytem"):
        commands(spoken()).run("/sytem x")


def test_system_and_model_hold_from_the_next_question_on() -> None:
    said = spoken()
    listed = commands(said)
    listed.run("/system Be\nlong.")
    assert said.asking("?")[0] == {"role": "system", "content": "Be\nlong."}
    assert "* first" in str(listed.run("/model"))
    listed.run("/model second")
    assert said.profile == "second"
    with pytest.raises(UserError, match="no profile third; it has first, second"):
        listed.run("/model third")


@pytest.mark.parametrize("name", ["said.md", "said.json"])
def test_a_conversation_is_saved_and_never_over_another_file(tmp_path: Path, name: str) -> None:
    said, file = spoken(), tmp_path / name
    commands(said).run(f"/save {file}")
    text = file.read_text()
    assert "Hello Ada." in text
    if name.endswith("json"):
        assert json.loads(text) == said.everything()
    with pytest.raises(UserError, match="there already"):
        commands(said).run(f"/save {file}")


def test_the_last_conversation_is_kept_for_this_user_alone_until_it_is_cleared(state: Path) -> None:
    said = spoken()
    said.keep()
    assert stat.S_IMODE((state / "chat.json").stat().st_mode) == 0o600
    assert last_conversation() == said
    commands(said).run("/clear")
    assert said.messages == []
    with pytest.raises(UserError, match="no conversation to go on with"):
        last_conversation()


@pytest.mark.parametrize("content", ["{", "[]", '{"profile": ""}'])
def test_a_file_that_holds_no_conversation_is_named(state: Path, content: str) -> None:
    (state / "chat.json").write_text(content)
    with pytest.raises(UserError, match=r"chat\.json holds no conversation"):
        last_conversation()


def test_what_is_typed_is_edited_with_the_keys_of_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: Any = "wrold\x01hello \x05\x7f\x7f\x7f\x7forld\r"
    assert typed(monkeypatch, keys) == ["hello world"]
