"""Defaults of a user's own, from the config file: `max_cost` for the option `--max-cost`; `--profile` has a variable
too.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from typer.core import TyperOption

from tandem.errors import UserError
from tandem.paths import config_folder

# Options of `tandem ask` and `tandem chat`, and of every command. An option that acts once, such as --detach, has no
# default.
OF_ASKING = (
    "threshold",
    "max_cost",
    "max_llm_tokens",
    "max_tokens",
    "temperature",
    "tenant",
    "verbose",
    "quiet",
)
OF_EVERY_COMMAND = ("profile",)
# Variables that the command line reads, of which no command has an option.
VARIABLES = ("address", "api_key", "ca_file", "models", "state", "bin", "engine", "jaeger", "profiles_path")
_ASKING = ("ask", "chat")


def config_file() -> Path:
    """TANDEM_CONFIG, or config.toml among the user's settings."""
    return Path(os.environ.get("TANDEM_CONFIG") or config_folder() / "config.toml")


def set_variables() -> None:
    """What the file has of `VARIABLES` goes into the environment, where it is not set. Raises UserError."""
    for name, value in _given().items():
        if name in VARIABLES:
            os.environ.setdefault(_variable(name), str(value))


def set_defaults(verb: str, command: Any) -> None:
    """Set the defaults of the options of a verb, or of one command of it. Raises UserError."""
    names = (*OF_EVERY_COMMAND, *(OF_ASKING if verb in _ASKING else ()))
    for option in command.params:
        if isinstance(option, TyperOption) and option.name in names:
            if option.name in OF_EVERY_COMMAND:
                option.envvar = _variable(option.name)
            if option.name in _given():
                value = _given()[option.name]
                option.default = [value] if option.multiple and not isinstance(value, list) else value


def _variable(name: str) -> str:
    return f"TANDEM_{name.upper()}"


def _given() -> dict[str, Any]:
    return _read(config_file())


@cache
def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        import tomllib  # most users have no such file

        given = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    known = {*OF_ASKING, *OF_EVERY_COMMAND, *VARIABLES}
    if unknown := sorted(given.keys() - known):
        raise UserError(f"{file}: there is no setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return given
