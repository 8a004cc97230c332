"""Going on from a JSON text that another model began."""

from __future__ import annotations

from services.engine.api import Tokenizer
from services.engine.json_schema import is_beginning


def num_continued(tokenizer: Tokenizer, schema: str, insight: str) -> int:
    """How many tokens at the end of a prompt that ends with `insight` are the beginning of the answer; 0: the answer is a whole
    JSON text. Raises InvalidSchema.

    An insight cannot be gone on from where it does not follow the schema in our grammar: an API orders keys its own way, or a
    stage ends within a character.
    """
    return len(tokenizer.encode(insight, plain=True)) if is_beginning(schema, insight) else 0
