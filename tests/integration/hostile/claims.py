"""How many inputs a claim is tried on, and how a call ends.

TANDEM_FUZZ_CASES says how many (`make fuzz`); the same inputs in every run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts import Method

# Hypothesis imports it in the thread of a claim with many inputs. Python 3.11 fails where two threads compile
# (gh-106905).
with contextlib.suppress(ImportError):
    importlib.import_module("hypothesis.internal.conjecture.optimiser")

BOUND_SECONDS = 60.0
CASES = int(os.environ.get("TANDEM_FUZZ_CASES", "5"))
WAIT_SECONDS = 5.0 if "TANDEM_FUZZ_CASES" in os.environ else BOUND_SECONDS
"""The longest that a bystander waits. A few inputs are sent beside other tests, which keep the machine busy."""
_many = settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


def tried(**inputs: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A claim on many inputs.

    Hypothesis warns, with the strategy written out, where `random` was used while an input was drawn: servers in other
    threads of this process use it. `_named` is written in a word, what it draws from in megabytes.
    """
    return lambda claim: _many(given(**{name: _named(strategy) for name, strategy in inputs.items()})(claim))


def _named(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    @st.composite
    def any_input(draw: st.DrawFn) -> Any:
        return draw(strategy)

    return any_input()


def status_of(channel: grpc.Channel, method: Method, data: bytes) -> grpc.StatusCode:
    """How the call ends; a stream that begins is left after its first message."""
    request: bytes | Iterator[bytes] = iter([data]) if method.is_upload else data
    call = getattr(channel, method.kind)(method.path)
    try:
        if method.is_stream:
            replies = call(request, timeout=BOUND_SECONDS)
            next(replies, None)
            replies.cancel()
        else:
            call(request, timeout=BOUND_SECONDS)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
