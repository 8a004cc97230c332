"""A JSON schema as a grammar that a text can be held to. Needs no model, so that a gateway can refuse a schema too.

What is said of a schema here is said of a Grammar too. A text is a JSON object, or refused: the library also takes
grammars as texts.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from services.models.engine.api import InvalidSchema
from services.models.engine.call_format import Grammar
from services.models.engine.schema_cost import MAX_STEP_ITEMS, Cost, cost_of
from tandem.method.json_text import read_json_text

if TYPE_CHECKING:  # a type that exists in the library's stubs alone
    from llguidance._lib import JsonCompileOptions

_MAX_CHARACTERS = 1 << 16
_MAX_CHARACTERS_OF_GRAMMAR = 1 << 19
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
# The library's own, where none is here: a token's mask may take 20 ms, and a grammar's states 150 MB.
LIMITS = LLParserLimits(
    max_grammar_size=100_000,  # symbols; more take 300 MB
    max_items_in_row=20_000,
    step_max_items=MAX_STEP_ITEMS,
    precompute_large_lexemes=False,  # else what compiling costs depends on the vocabulary
    verbose_errors=False,  # they quote the text
)
_MAX_REASON = 400
_CLOSERS = sum(1 << ord(closer) for closer in "]}")
_STEPS = 50
_STEPS_SECONDS = 0.25


def key_of(schema: Grammar | str) -> bytes:
    """Where what is known of a schema is kept: never that of a grammar for a schema of the same text."""
    kind, text = ("grammar", schema.text) if isinstance(schema, Grammar) else ("schema", schema)
    return hashlib.sha256(f"{kind}:{text}".encode(errors="surrogatepass")).digest()


def cost_of_text(schema: Grammar | str) -> Cost:
    """Raises InvalidSchema where it is no JSON object, too long, or has a keyword that is too costly."""
    try:
        costs = [cost_of(_parsed(text)) for text in (schema.schemas if isinstance(schema, Grammar) else [schema])]
    except RecursionError as error:
        raise InvalidSchema("the schema is nested too deeply") from error
    return Cost(sum(cost.milliseconds for cost in costs), max(costs, key=lambda cost: cost.milliseconds).path)


def grammar_of(schema: Grammar | str) -> str:
    """In the library's notation. Raises InvalidSchema; whether the grammar is good, its matcher says."""
    if isinstance(schema, Grammar):
        if len(schema.text) > _MAX_CHARACTERS_OF_GRAMMAR:
            limit = _MAX_CHARACTERS_OF_GRAMMAR
            raise InvalidSchema(f"the schemas have {len(schema.text)} characters; the limit is {limit}")
        return schema.text
    try:
        return LLMatcher.grammar_from_json_schema(_parsed(schema), overrides=_OPTIONS)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is not a JSON object: {error}") from error


def compiled(vocabulary: LLTokenizer, schema: Grammar | str) -> LLMatcher:
    """Raises InvalidSchema. Takes as long as it takes: see `schema_findings`."""
    matcher = LLMatcher(vocabulary, grammar_of(schema), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise InvalidSchema(f"the schema cannot be held: {matcher.get_error()}")
    return matcher


def try_grammar(text: str) -> None:
    """As `try_schema`, of a Grammar's text, which may name tokens of a vocabulary. Bytes have none."""
    try_schema(Grammar(_TOKEN.sub(r'"\\u0001"', text)))


def try_schema(schema: Grammar | str) -> None:
    """Compile it and hold the beginning of a text to it. Raises ValueError where this fails, or a step takes too
    long.
    """
    try:
        matcher = compiled(LLTokenizer("byte"), schema)
    except InvalidSchema as error:
        raise ValueError(_first_line(str(error))) from None
    until = time.process_time() + _STEPS_SECONDS
    for _ in range(_STEPS):
        allowed = matcher.compute_bitmask()
        if matcher.is_error():
            raise ValueError(_first_line(f"no text can be held to the schema: {matcher.get_error()}"))
        if time.process_time() > until:
            raise ValueError("the schema is too costly at each token: too many steps")
        if matcher.is_stopped():
            return
        choices = int.from_bytes(allowed, "little")
        going_on = choices & ~_CLOSERS or choices  # as what is closed at once shows nothing of what may stand in it
        if not matcher.consume_token(going_on.bit_length() - 1):
            raise ValueError(_first_line(f"no text can be held to the schema: {matcher.get_error()}"))


def is_beginning(schema: str, text: str) -> bool:
    """`text` begins, or is, a JSON text that follows `schema`. Raises InvalidSchema. Takes as long as `compiled`."""
    content = list(text.encode())
    return compiled(LLTokenizer("byte"), schema).try_consume_tokens(content) == len(content)


def _first_line(reason: str) -> str:
    return reason.partition("\n")[0][:_MAX_REASON]


def _parsed(schema: str) -> dict[str, Any]:
    """Raises InvalidSchema."""
    if len(schema) > _MAX_CHARACTERS:
        raise InvalidSchema(f"the schema has {len(schema)} characters; the limit is {_MAX_CHARACTERS}")
    try:
        found = read_json_text(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is not a JSON object: {error}") from error
    if not isinstance(found, dict):  # of a text the library makes part of a grammar, as it is
        raise InvalidSchema("the schema is not a JSON object")
    return found
