"""A JSON schema as a grammar that a text can be held to. Needs no model, so that a gateway can refuse a schema too.

What is said of a schema here is said of a grammar too: a text that begins with `LARK`, in llguidance's notation, whose schemas stand
each at the end of a line.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from services.engine.api import InvalidSchema
from services.engine.schema_cost import Cost, cost_of
from tandem.method.json_text import read_json_text

if TYPE_CHECKING:  # a type that exists in the library's stubs alone
    from llguidance._lib import JsonCompileOptions

LARK = "%llguidance {}"
_MAX_CHARACTERS = 1 << 16
_MAX_CHARACTERS_OF_LARK = 1 << 19
_JSON = " %json "
_TOKEN = re.compile(r"<\[\d+\]>")
ANY_JSON = "{}"
_OPTIONS: JsonCompileOptions = {
    # A model in doubt writes white space, and without a limit it need never end. This much indents a text eight levels.
    "whitespace_pattern": r"[ \t\r\n]{0,32}",
    "lenient": False,  # a keyword that cannot be held is an error
    # A schema may set these, and with others a text is no JSON.
    "item_separator": ",",
    "key_separator": ":",
}
# The library's own, where not smaller: a token's mask may take 20 ms, and a grammar's states 150 MB.
LIMITS = LLParserLimits(
    max_grammar_size=100_000,  # symbols; more take 300 MB
    step_max_items=20_000,
    precompute_large_lexemes=False,  # else what compiling costs depends on the vocabulary
    verbose_errors=False,  # they quote the text
)
_OF_A_LIMIT = re.compile(r"too (big|large|many|complex)|fuel|Unable to determine")
_MAX_REASON = 400
_STEPS = 50
_STEPS_SECONDS = 0.25


def key_of(schema: str) -> bytes:
    """Where what is known of a schema is kept by its text."""
    return hashlib.sha256(schema.encode(errors="surrogatepass")).digest()


def cost_of_text(schema: str) -> Cost:
    """Raises InvalidSchema where it is no JSON object, too long, or has a keyword that is too costly."""
    try:
        if not schema.startswith(LARK):
            return cost_of(_parsed(schema))
        costs = [cost_of(_parsed(line.partition(_JSON)[2])) for line in schema.splitlines() if _JSON in line]
        return Cost(sum(cost.milliseconds for cost in costs), max(costs, key=lambda cost: cost.milliseconds).path)
    except RecursionError as error:
        raise InvalidSchema("the schema is nested too deeply") from error


def grammar_of(schema: str) -> str:
    """The grammar, in llguidance's notation. Raises InvalidSchema; whether the grammar is good, its matcher says."""
    if schema.startswith(LARK):
        if len(schema) > _MAX_CHARACTERS_OF_LARK:
            raise InvalidSchema(f"the schemas have {len(schema)} characters; the limit is {_MAX_CHARACTERS_OF_LARK}")
        return schema
    try:
        return LLMatcher.grammar_from_json_schema(_parsed(schema), overrides=_OPTIONS)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is not a JSON object: {error}") from error


def compiled(vocabulary: LLTokenizer, schema: str) -> LLMatcher:
    """Raises InvalidSchema. Takes as long as it takes: see `schema_findings`."""
    matcher = LLMatcher(vocabulary, grammar_of(schema), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise InvalidSchema(f"the schema cannot be held: {matcher.get_error()}")
    return matcher


def try_schema(schema: str) -> None:
    """Compile it and hold the beginning of a text to it. Raises ValueError where this fails, or a step takes too long."""
    try:
        matcher = compiled(LLTokenizer("byte"), _without_tokens(schema))
    except InvalidSchema as error:
        raise ValueError(_with_path(str(error), schema)) from None
    until = time.process_time() + _STEPS_SECONDS
    for _ in range(_STEPS):
        allowed = matcher.compute_bitmask()
        if matcher.is_error():
            raise ValueError(_with_path(f"no text can be held to the schema: {matcher.get_error()}", schema))
        if time.process_time() > until:
            raise ValueError(_with_path("the schema is too costly at each token: too many steps", schema))
        last = int.from_bytes(allowed, "little").bit_length() - 1
        if matcher.is_stopped() or not matcher.consume_token(last):
            return


def _without_tokens(schema: str) -> str:
    """A grammar may name tokens of a vocabulary, which bytes do not have."""
    return _TOKEN.sub(r'"\\u0001"', schema) if schema.startswith(LARK) else schema


def is_beginning(schema: str, text: str) -> bool:
    """`text` begins, or is, a JSON text that follows `schema`. Raises InvalidSchema. Takes as long as `compiled`."""
    content = list(text.encode())
    return compiled(LLTokenizer("byte"), schema).try_consume_tokens(content) == len(content)


def _with_path(reason: str, schema: str) -> str:
    """The first line of `reason`, with the path of the costliest keyword where the library reports a limit of its own."""
    reason = reason.partition("\n")[0][:_MAX_REASON]
    path = cost_of_text(schema).path
    return f"{reason}; most by {path}" if path and _OF_A_LIMIT.search(reason) else reason


def _parsed(schema: str) -> Any:
    """Raises InvalidSchema."""
    if len(schema) > _MAX_CHARACTERS:
        raise InvalidSchema(f"the schema has {len(schema)} characters; the limit is {_MAX_CHARACTERS}")
    try:
        return read_json_text(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is not a JSON object: {error}") from error
