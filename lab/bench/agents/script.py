"""What the scripted model does next: read a file, edit it, run a command, say that it is done.

It knows no agent: it takes the tools that are offered by their usual names, and fills their schemas by the names of the
fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE, WRONG, RIGHT = "greeting.txt", "hello wrold", "hello world"
_PLACE = re.compile(rf"Read (/\S*{FILE})")
DONE = f"Done: {FILE} says {RIGHT}."
_KINDS = {
    "read": ("read", "readfile", "readfiles", "viewfile"),
    "edit": ("edit", "editfile", "strreplace", "replaceinfile", "replace", "editor", "editexistingfile"),
    "run": (
        "bash", "execcommand", "executecommand", "runcommands", "runterminalcommand", "runshellcommand", "shell",
        "shellcommand", "runcommand", "execute",
    ),
    "end": ("attemptcompletion", "submitandexit", "complete"),
}  # fmt: skip
_COMMANDS = {"read": "cat {}", "edit": f"sed -i 's/{WRONG}/{RIGHT}/' {{}}", "run": "wc -c {}"}
_ORDER = ("read", "edit", "run")
_SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"  # how mini-swe-agent is told that a task is over
_MARK = re.compile(r"^Step \d", re.MULTILINE)


def task(folder: Path) -> str:
    """What the user says: with the whole path, which some tools want."""
    return f"Read {folder / FILE}, correct its spelling mistake, count its bytes with wc -c, and say that you are done."


@dataclass(frozen=True)
class Asked:
    """A request in any protocol: tools by name with the schemas of their arguments, and what was said before."""

    tools: Mapping[str, Any]
    results: int
    """Results of calls that the conversation has."""
    said: Sequence[str] = ()
    """The assistant's texts before."""
    text: str = ""
    """All that the system and the user said."""
    schema: Any = None
    """Which the answer must follow."""


@dataclass(frozen=True)
class Step:
    text: str
    call: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def next_step(asked: Asked) -> Step:
    if asked.schema:
        return Step(json.dumps(_filled(asked.schema, "", {})))
    if not asked.tools:
        return _in_words(asked)
    tools = {re.sub(r"[^a-z]", "", name.lower()): name for name in asked.tools}
    done = min(asked.results, len(_ORDER))
    kind = "end" if done == len(_ORDER) else _ORDER[done]
    if name := _named(tools, _KINDS[kind]):
        return _call(asked, name, done, _COMMANDS.get(kind, ""))
    shell = _named(tools, _KINDS["run"])
    if kind == "end" and _SUBMIT in asked.text and shell:
        return _call(asked, shell, done, f"echo {_SUBMIT}")
    if kind == "end" or not shell:
        return Step(DONE)
    return _call(asked, shell, done, _COMMANDS[kind])


def _call(asked: Asked, name: str, done: int, command: str) -> Step:
    found = _PLACE.search(asked.text)
    path = found[1] if found else FILE
    run = command.format(path)
    words = {"command": run, "cmd": run, "commands": run, "path": path, "old": WRONG, "new": RIGHT, "result": DONE}
    schema = asked.tools[name]
    return Step(f"Step {done + 1}.", name, _filled(schema, "", words, schema.get("$defs", {})))


def _in_words(asked: Asked) -> Step:
    """Aider's blocks, each a step nearer to the right text; a title for whoever asks for one."""
    if "SEARCH/REPLACE" not in asked.text:
        return Step("Greeting corrected")
    done = sum(bool(_MARK.search(text)) for text in asked.said)
    texts = [WRONG, "hello worl", "hello worlt", RIGHT]
    if done + 1 >= len(texts):
        return Step(DONE)
    block = f"{FILE}\n<<<<<<< SEARCH\n{texts[done]}\n=======\n{texts[done + 1]}\n>>>>>>> REPLACE"
    return Step(f"Step {done + 1}.\n\n{block}\n")


def _named(tools: Mapping[str, str], names: Sequence[str]) -> str:
    return next((tools[name] for name in names if name in tools), "")


def _filled(schema: Any, name: str, words: Mapping[str, str], kinds: Mapping[str, Any] = {}) -> Any:
    """The least that follows the schema."""
    if "$ref" in schema:
        return _filled(kinds[schema["$ref"].rpartition("/")[2]], name, words, kinds)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _filled(next(s for s in schema[several] if s.get("type") != "null"), name, words, kinds)
    if values := schema.get("enum"):
        return next((value for value in values if value == "str_replace"), values[0])
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, words, kinds)
    if kind == "array":
        if name == "command":
            return ["bash", "-lc", words["command"]]
        return [_filled(schema.get("items", {}), name, words, kinds)]
    if kind in ("integer", "number"):
        return max(1, int(schema.get("minimum", 1)))
    return False if kind == "boolean" else _word(name, words)


def _object(schema: Any, words: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    fields = schema.get("properties", {})
    needed = set(schema.get("required", ()))
    if "command" not in needed and "cmd" not in needed:  # some name none as needed
        needed |= {name for name in fields if _meaning(name) in ("path", "old", "new") and _is_plain(fields[name])}
    return {name: _filled(fields[name], name, words, kinds) for name in fields if name in needed}


def _is_plain(schema: Any) -> bool:
    return any("string" in str(kind.get("type")) for kind in (schema, *schema.get("anyOf", ())))


def _word(name: str, words: Mapping[str, str]) -> str:
    return words.get(_meaning(name), "step")


def _meaning(name: str) -> str:
    small = name.lower()
    if small.startswith("old") or small == "search":
        return "old"
    if small.startswith("new") or small in ("replace", "replacement"):
        return "new"
    if "path" in small or small in ("file", "filename", "files"):
        return "path"
    return small
