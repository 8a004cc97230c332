"""JSON that callers write: Python reads and writes an integer of n digits in n^2 steps, and no other thread runs
meanwhile.
"""

from __future__ import annotations

import json
from typing import Any

MOST_DIGITS = 309
"""Of an integer: as many as the largest number has that is no integer."""


def read_json_text(text: str | bytes) -> Any:
    """Raises ValueError for what is no JSON or has an integer of more than MOST_DIGITS, RecursionError."""
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int:
    number = digits.removeprefix("-")
    if len(number) > MOST_DIGITS:
        raise ValueError(f"an integer has {len(number)} digits, and may have {MOST_DIGITS}")
    return int(digits)
