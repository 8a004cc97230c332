"""A request's JSON schema at the edge: refused there, before any model is asked."""

from __future__ import annotations

from services.engine.api import InvalidSchema
from services.engine.json_schema import grammar_of
from tandem.method.errors import InvalidArgument


def check_schema(text: str) -> None:
    """Raises InvalidArgument, naming `json_schema`, where no text can be held to `text`: it is no JSON schema, has a keyword
    that cannot be held, or is too large.
    """
    try:
        grammar_of(text)
    except InvalidSchema as error:
        raise InvalidArgument(str(error), field="json_schema", reason=error.reason) from error
