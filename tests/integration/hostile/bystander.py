"""Somebody who asks a question the whole time while hostile inputs are sent, and what all inputs together came to."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.integration.asking import ask
from tests.integration.conftest import System

QUESTION = "[scores=0:0.9 slm_eos=3]"
JSON_QUESTION = '[slm={"a":_1} slm_eos=9 scores=0:0.9]'
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
_PAUSE_SECONDS = 0.2


@dataclass
class Tally:
    """`inputs` by method or path, `defects` the replies that say that a service did not expect this, `waits` in
    seconds.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def count(self, sent_to: str, *, is_defect: bool) -> None:
        self.inputs[sent_to] += 1
        self.defects[sent_to] += is_defect

    def __str__(self) -> str:
        said = f"{self.inputs.total():,} inputs, {self.defects.total()} replies of status 500 or its kind"
        if len(self.waits) < 2:
            return said
        hundredths = statistics.quantiles(self.waits, n=100, method="inclusive")
        waited = f"p50 {hundredths[49]:.2f} s, p99 {hundredths[98]:.2f} s, at most {max(self.waits):.2f} s"
        return f"{said}; a bystander waited {waited} (n = {len(self.waits):,})"


TALLY = Tally()
"""Of this run."""


@asynccontextmanager
async def asking(system: System, most_seconds: float) -> AsyncIterator[None]:
    """Ask again and again. Raises AssertionError where an answer took longer than `most_seconds`, and what asking
    raises.
    """
    is_over = asyncio.Event()
    waits: list[float] = []

    async def ask_on() -> None:
        while not is_over.is_set():
            for question, schema in ((QUESTION, ""), (JSON_QUESTION, SCHEMA)):
                began = time.monotonic()
                assert (await ask(system, question, json_schema=schema))["answer"]
                waits.append(time.monotonic() - began)
                await asyncio.sleep(_PAUSE_SECONDS)

    bystander = asyncio.create_task(ask_on())
    try:
        yield
    finally:
        is_over.set()
        await bystander
        TALLY.waits += waits
    assert max(waits) < most_seconds, f"the bystander waited {max(waits):.1f} s"
