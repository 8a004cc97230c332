"""Going on from a JSON text that another model began."""

from __future__ import annotations

import asyncio

from services.engine.api import Engine
from services.engine.json_schema import is_beginning
from services.engine.schema_trial import trials


async def num_continued(engine: Engine, schema: str, insight: str) -> int:
    """How many tokens at the end of a prompt that ends with `insight` are the beginning of the answer; 0: the answer is a whole
    JSON text. Raises InvalidSchema and QueueFull.

    Not every engine can go on from a text. And an insight may not follow the schema in our grammar: an API orders keys its
    own way, or a stage ends within a character.
    """
    if not engine.continues_json:
        return 0
    await trials().num_bytes(schema)
    if not await asyncio.to_thread(is_beginning, schema, insight):
        return 0
    return len(engine.tokenizer.encode(insight, plain=True))
