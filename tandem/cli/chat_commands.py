"""What a user of `tandem chat` types after a slash."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tandem.cli.conversation_file import Conversation
from tandem.client.clients import Client
from tandem.errors import UserError

HELP = """\
/help          this list
/clear         forget what was said, here and on disk
/system TEXT   who the models are to be; without a text: show it
/model NAME    go on with another pair of models; without a name: list them
/save FILE     write the conversation as Markdown, or as JSON where FILE ends in .json
/exit          end; so does Ctrl-D
Esc Enter begins a new line, and a paste of several lines is one message. `tandem chat -c` goes on with this conversation."""  # noqa: E501
_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)


class Commands:
    def __init__(self, client: Client, said: Conversation) -> None:
        self._client, self._said = client, said
        self._by_name = {
            "help": lambda _: HELP,
            "clear": self._clear,
            "system": self._system,
            "model": self._model,
            "save": self._save,
        }

    def run(self, given: str) -> str | None:
        """Return what to tell the user; None where `given` is no command. Raises UserError and OSError."""
        found = _COMMAND.fullmatch(given)
        if not found:
            return None  # a path such as /etc/hosts is none
        name, argument = found[1], (found[2] or "").strip()
        if name not in self._by_name:
            raise UserError(f"there is no command /{name}: /help lists them")
        return self._by_name[name](argument)

    def _clear(self, _: str) -> str:
        self._said.clear()
        return "forgotten"

    def _system(self, text: str) -> str:
        if not text:
            return self._said.system or "none"
        self._said.system = text
        return "from the next question on"

    def _model(self, name: str) -> str:
        listed = self._client.profiles()
        if not name:
            now = self._said.profile or listed.default_profile
            return "\n".join(
                f"{'*' if each.name == now else ' '} {each.name}   {each.llm} with {each.slm}"
                for each in listed.profiles
            )
        names = [each.name for each in listed.profiles]
        if name not in names:
            raise UserError(f"the gateway serves no profile {name}; it has {', '.join(names)}")
        self._said.profile = name
        return f"from the next question on, {name}"

    def _save(self, name: str) -> str:
        if not name:
            raise UserError("/save needs the name of a file")
        is_json = name.endswith(".json")
        text = (
            json.dumps(self._said.everything(), indent=2, ensure_ascii=False) + "\n"
            if is_json
            else self._said.as_markdown()
        )
        try:
            with Path(name).expanduser().open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise UserError(f"{name} is there already: choose another name") from None
        return f"in {name}"
