"""What an answer that may call tools is held to: free text, calls in the model's own format, or both, in llguidance's
notation.

Each call is of a tool that may be called, with arguments that follow its schema, so that none is malformed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from services.models.engine.api import InvalidSchema
from services.models.engine.call_format import AN_ID, ID_PATTERN, CallFormat, Grammar
from services.models.engine.tagged_arguments import Tags, is_text
from tandem.method.json_text import read_json_text
from tandem.method.tools import Tool, ToolUse

GENERIC = CallFormat(
    '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
)
"""Of no model: to try what tools cost where there is no tokenizer."""
_ANY = r"(.|\n)*"
_SAID = rf"/[ \n]*[^ \n]{_ANY}/"
"""A text says something: agents take an answer without text and calls for a fault, and ask again."""
_SPACE = r"[ \n]{0,16}"
_BRACE = rf'[{{]{_SPACE}"name":{_SPACE}'
_FENCE = r"```(json)?\n"
_LIST = rf"\[{_SPACE}"
_BARE = [
    'bare: BRACE bare_one | FENCED bare_one "\\n```" | LISTED bare_list | FENCED_LIST bare_list "\\n```"',
    'bare_one: bare_call SPACE "}"',
    f"BRACE: /{_BRACE}/",
    f"FENCED: /{_FENCE}{_BRACE}/",
    f"LISTED: /{_LIST}{_BRACE}/",
    f"FENCED_LIST: /{_FENCE}{_LIST}{_BRACE}/",
    f"NEXT: /{_SPACE},{_SPACE}{_BRACE}/",
    f"SPACE: /{_SPACE}/",
]
"""A call as bare JSON, or a list of some, perhaps in a block of code: what begins so is held to be that. Not one call
after the other:
Qwen2.5-Coder 1.5B goes on with all calls of the task, whose results it has not seen, and again from the first to the
token limit.
"""
_OF_TEXTS = frozenset({"pattern", "format", "minLength", "maxLength"})
_KINDS = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})


def tool_grammar(form: CallFormat, use: ToolUse, json_schema: str = "") -> Grammar:
    """With `json_schema` an answer without calls is a JSON text that follows it. Raises InvalidSchema where a schema is
    no JSON object.
    """
    tools, is_required = use.callable, use.mode == "required"
    is_json = bool(json_schema) and not is_required
    start = _start_of_json(form, json_schema) if is_json else _start(form, is_required=is_required)
    rules = ["%llguidance {}", *start, f"calls: {_calls(form, use)}"]
    rules += (
        _tagged_calls(form, form.tags, tools) if form.tags else _one_of("call", [_call(form, tool) for tool in tools])
    )
    if form.mark and not is_json:
        rules += [*_BARE, _bare_list(use), *_one_of("bare_call", [_bare_call(tool) for tool in tools])]
    return Grammar("\n".join(rules) + "\n", (*(tool.schema for tool in tools), *([json_schema] if is_json else [])))


def _start(form: CallFormat, *, is_required: bool) -> list[str]:
    """What comes before the first call's name."""
    if is_required:
        return [f"start: {_literal(form, form.first)} calls{' | bare' if form.mark else ''}"]
    if not form.mark:
        not_first = re.escape(form.first[:1])
        return [f"start: TEXT | {_literal(form, form.first)} calls", f"TEXT: /[^{not_first}]{_ANY}/ & {_SAID}"]
    rest = _literal(form, form.first.removeprefix(form.mark))
    # The longest beginning of a text is what it is taken for, so that one which may be a call is nothing else.
    text = f"TEXT: {_SAID} & ~/{_ANY}{_pattern(form.mark)}{_ANY}/ & ~/({_FENCE})?({_LIST})?{_BRACE}{_ANY}/"
    if form.mark in dict(form.tokens):
        mark = _literal(form, form.mark)
        return [f"start: TEXT | {mark} {rest} calls | TEXT {mark} {rest} calls | bare", text]
    begun = f"{_literal(form, form.first)} calls"
    lead = f"lead[lazy]: TEXT {_literal(form, form.mark)}"
    return [f"start: TEXT | {begun} | lead {rest} calls | bare", lead, text]


def _start_of_json(form: CallFormat, json_schema: str) -> list[str]:
    """A JSON text, or calls; none as bare JSON, which would be either."""
    held = {**_object(json_schema, "the JSON schema"), "x-guidance": {"whitespace_pattern": _SPACE, "lenient": False}}
    answer = f"answer: %json {_quoted(held)}"
    return [f"start: answer | {_literal(form, form.first)} calls", answer]


def _calls(form: CallFormat, use: ToolUse) -> str:
    further = f" ({_literal(form, form.between)} call)*" if use.parallel and form.between else ""
    return f"call{further} {_literal(form, form.end)}"


def _bare_list(use: ToolUse) -> str:
    further = ' (NEXT bare_call SPACE "}")*' if use.parallel else ""
    return f'bare_list: bare_call SPACE "}}"{further} SPACE "]"'


def _one_of(name: str, rules: list[str]) -> list[str]:
    """Rules of which one holds; each stands on a line of its own, with its schema at the end."""
    numbered = [f"{name}_{number}" for number in range(len(rules))]
    return [f"{name}: {' | '.join(numbered)}", *(f"{each}: {rule}" for each, rule in zip(numbered, rules, strict=True))]


def _call(form: CallFormat, tool: Tool) -> str:
    item, key = form.separators
    written = {"whitespace_flexible": False, "item_separator": item, "key_separator": key}
    return f"{_literal(form, tool.name + form.middle)} %json {_held_schema(tool, written)}"


def _tagged_calls(form: CallFormat, tags: Tags, tools: list[Tool]) -> list[str]:
    """Arguments in the order of the schema; a schema without any allows those that the model names."""
    rules = [f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}"]
    for number, tool in enumerate(tools):
        schema = _object(tool.schema, f"the schema of the tool {tool.name!r}")
        known, required = _inner(schema.get("properties")), schema.get("required")
        required = required if isinstance(required, list) else []
        parts = [f"call_{number}_{at}{'' if name in required else '?'}" for at, name in enumerate(known)]
        free = [] if "properties" in schema or not tool.parameters else [f"call_{number}_any*"]
        rules.append(f"call_{number}: {' '.join([_literal(form, tool.name + form.middle), *parts, *free])}")
        for at, (name, inner) in enumerate(known.items()):
            rules += _tagged_argument(
                tags, f"call_{number}_{at}", name, {**_definitions(schema), **_inner(inner)}, tool
            )
        if free:
            named = f"{json.dumps(tags.before)} /[A-Za-z0-9_.-]+/ {json.dumps(tags.between)}"
            rules += [f"call_{number}_any: {named} any_text", _any_text("any_text", tags)]
    return list(dict.fromkeys(rules))


def _tagged_argument(tags: Tags, rule: str, name: str, schema: dict[str, Any], tool: Tool) -> list[str]:
    begun = _quoted(tags.before + name + tags.between)
    if not is_text(schema):
        options = {
            "whitespace_flexible": False,
            "item_separator": ", ",
            "key_separator": ": ",
            "lenient": not tool.strict,
        }
        held = _quoted({**schema, "x-guidance": options})
        return [f"{rule}: {begun} {rule}_json {json.dumps(tags.after)}", f"{rule}_json: %json {held}"]
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        ended = " | ".join(_quoted(choice + tags.after) for choice in choices)
        return [f"{rule}: {begun} ({ended})"]
    if tool.strict and (more := schema.keys() & _OF_TEXTS):
        raise InvalidSchema(
            f"the model writes texts as they are, which cannot be held to {sorted(more)[0]!r} of the tool {tool.name!r}"
        )
    return [f"{rule}: {begun} {rule}_text", _any_text(f"{rule}_text", tags)]


def _any_text(rule: str, tags: Tags) -> str:
    """Up to where the argument ends."""
    return f"{rule}[lazy]: /{_ANY}/ {json.dumps(tags.after, ensure_ascii=False)}"


def _definitions(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in ("$defs", "definitions") if name in schema}


def _inner(schema: Any) -> dict[str, Any]:
    return schema if isinstance(schema, dict) else {}


def _bare_call(tool: Tool) -> str:
    name, arguments = json.dumps(json.dumps(tool.name) + ","), json.dumps('"arguments":')
    return f"{name} SPACE {arguments} SPACE %json {_held_schema(tool, {'whitespace_pattern': _SPACE})}"


def _held_schema(tool: Tool, written: Mapping[str, Any]) -> str:
    """The tool's schema, in which the arguments are an object, with no names that it does not have unless it says so.
    `written`: as the chat template writes them, so that the next turn's prompt has the same tokens.
    """
    schema = _object(tool.schema, f"the schema of the tool {tool.name!r}")
    kind = {} if _KINDS & schema.keys() else {"type": "object"}
    closed = {} if "properties" not in schema else {"additionalProperties": False}
    options = {**written, "lenient": not tool.strict}
    return _quoted({**kind, **closed, **schema, "x-guidance": options})


def _object(schema: str, what: str) -> dict[str, Any]:
    try:
        found = read_json_text(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"{what} is not a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise InvalidSchema(f"{what} is not a JSON object")
    return found


def _quoted(value: Any) -> str:
    """As JSON, on one line, in which nothing looks like a token."""
    return json.dumps(value).replace("<", r"\u003c")


def _literal(form: CallFormat, text: str) -> str:
    """A text, in which the tokenizer's own tokens are themselves: spelled out, they would be other tokens."""
    written = {AN_ID: f"/{ID_PATTERN}/"} | {token: f"<[{number}]>" for token, number in form.tokens}
    pieces = re.split("(" + "|".join(map(re.escape, written)) + ")", text)
    return " ".join(written.get(piece) or json.dumps(piece, ensure_ascii=False) for piece in pieces if piece)


def _pattern(text: str) -> str:
    return re.escape(text).replace("/", r"\/")
