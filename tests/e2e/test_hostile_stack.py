"""A stack whose large model's endpoint replies with seeded hostile cases: each request is answered or refused, within
its budget.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random

import pytest

from tandem import Client, Completed
from tandem.errors import RequestError
from tandem.method.timeouts import Timeouts
from tests.e2e.test_api_stack import (  # noqa: F401
    LARGE,
    SMALL,
    Endpoints,
    api,
    api_stack,
    client,
    endpoints,
    lean,
    open_circuits,
)
from tests.hostile_api import FAMILIES, case

pytestmark = pytest.mark.timeout(900)
SEED, EACH = 20261202, 2


@pytest.mark.usefixtures("open_circuits")
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "limits"])
def test_a_hostile_large_model_ends_no_request_as_internal_and_bills_no_more_than_its_cap(
    client: Client,  # noqa: F811
    endpoints: Endpoints,  # noqa: F811
    family: str,
) -> None:
    seen: Counter[str] = Counter()
    for number in range(EACH):
        one = case(family, SEED, number, "openai", "http://127.0.0.1:9")
        endpoints.next.clear()
        endpoints.next[LARGE if Random(number).random() < 0.7 else SMALL] = [one.answer] * 50
        began = time.monotonic()
        try:
            *_, last = client.solve(f"Hostile {family} {number}?")
        except RequestError as error:
            seen[error.code.name] += 1
        else:
            assert isinstance(last, Completed)
            usage = last.result.usage.llm
            seen["answered"] += 1
            attempts = 4
            assert usage.output_tokens + usage.discarded_tokens <= attempts * 4096, one.name
            assert usage.input_tokens <= attempts * 2048, one.name
        assert time.monotonic() - began < Timeouts.longest_unattended_pauses.total_seconds(), one.name
    print(family, dict(seen))
    assert not seen.keys() & {"INTERNAL", "UNKNOWN"}
