"""The conversation of `tandem chat`: what was said, and the file in the state folder by which `tandem chat -c` goes on
with it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tandem.errors import UserError
from tandem.paths import state_folder

Message = dict[str, str]


@dataclass(slots=True)
class Conversation:
    """`messages` are the user's and the assistant's in turns; `system` is before them, empty: none. `profile` empty:
    the gateway's default.
    """

    profile: str = ""
    system: str = ""
    messages: list[Message] = field(default_factory=list)

    def asking(self, question: str) -> list[Message]:
        """Return all that the models read, with the question last."""
        return [*self.everything(), {"role": "user", "content": question}]

    def everything(self) -> list[Message]:
        start = [{"role": "system", "content": self.system}] if self.system else []
        return [*start, *self.messages]

    def remember(self, question: str, answer: str) -> None:
        self.messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    def clear(self) -> None:
        """Forgets what was said, in the file too. Raises OSError."""
        self.messages.clear()
        _file().unlink(missing_ok=True)

    def keep(self) -> None:
        """Writes the file, for this user alone. Raises OSError."""
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        kept = {"profile": self.profile, "system": self.system, "messages": self.messages}
        with os.fdopen(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as writing:
            json.dump(kept, writing, ensure_ascii=False)
        partial.replace(file)

    def as_markdown(self) -> str:
        return "\n".join(f"## {each['role']}\n\n{each['content']}\n" for each in self.everything())


def last_conversation() -> Conversation:
    """Raises UserError where there is none."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        return Conversation(kept["profile"], kept["system"], kept["messages"])
    except FileNotFoundError:
        raise UserError("there is no conversation to go on with: `tandem chat` begins one") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{_file()} holds no conversation ({error}): `tandem chat` begins a new one") from None


def _file() -> Path:
    return state_folder() / "chat.json"
