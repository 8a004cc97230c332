"""A JSON schema as a grammar that a text can be held to. Needs no model, so that a gateway can refuse a schema too."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, LLTokenizer

from services.engine.api import InvalidSchema

if TYPE_CHECKING:  # a type that exists in the library's stubs alone
    from llguidance._lib import JsonCompileOptions

_MAX_CHARACTERS = 1 << 16
# A larger number than this in a schema takes minutes to compile, and much memory.
_MAX_REPETITIONS = 10_000
_REPETITIONS = frozenset(
    f"{bound}{what}" for bound in ("min", "max") for what in ("Items", "Length", "Properties", "Contains")
)
ANY_JSON = "{}"
_OPTIONS: JsonCompileOptions = {
    # A model in doubt writes white space, and without a limit it need never end. This much indents a text eight levels.
    "whitespace_pattern": r"[ \t\r\n]{0,32}",
    "lenient": False,  # a keyword that cannot be held is an error
}


@lru_cache(maxsize=256)
def grammar_of(schema: str) -> str:
    """The grammar, in llguidance's notation. Raises InvalidSchema where `schema` is no JSON schema or cannot be held."""
    if len(schema) > _MAX_CHARACTERS:
        raise InvalidSchema(f"the schema has {len(schema)} characters; the limit is {_MAX_CHARACTERS}")
    try:
        parsed = json.loads(schema)
        _check_repetitions(parsed)
        grammar = LLMatcher.grammar_from_json_schema(parsed, overrides=_OPTIONS)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is not a JSON object: {error}") from error
    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    if is_error:
        raise InvalidSchema(f"the schema cannot be held: {messages[0]}")
    return grammar


def is_beginning(schema: str, text: str) -> bool:
    """`text` begins, or is, a JSON text that follows `schema`. Raises InvalidSchema."""
    content = list(text.encode())
    matcher = LLMatcher(LLTokenizer("byte"), grammar_of(schema), log_level=0)
    return matcher.try_consume_tokens(content) == len(content)


def _check_repetitions(schema: Any) -> None:
    """Raises InvalidSchema."""
    if isinstance(schema, list):
        for element in schema:
            _check_repetitions(element)
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in _REPETITIONS and isinstance(value, int | float) and value > _MAX_REPETITIONS:
                raise InvalidSchema(f"the schema's {name} is {value}; the limit is {_MAX_REPETITIONS}")
            _check_repetitions(value)
