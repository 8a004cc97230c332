"""A request's JSON schema at the edge: refused there, before any model is asked."""

from __future__ import annotations

from services.engine.api import InvalidSchema, QueueFull
from services.engine.schema_findings import findings
from services.process.status import from_engine


async def check_schema(text: str) -> None:
    """Raises InvalidArgument, naming `json_schema`, where no text can be held to `text`: it is no JSON schema, has a keyword
    that cannot be held, or is too costly. Raises ResourceExhausted where too many others are tried.
    """
    try:
        await findings().num_bytes(text)
    except (InvalidSchema, QueueFull) as error:
        raise from_engine(error) or error from error
