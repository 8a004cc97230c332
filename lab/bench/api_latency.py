"""What the system adds to a request that an API answers, whose two models are endpoints: `python -m
lab.bench.api_latency`.

The API answers at once, in three pieces. It is asked directly, and by the system, in turns; the large model alone
answers.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request

from rich.progress import track

from lab.bench.common import Figures, quantiles, report
from lab.bench.endpoints import stack_of
from tandem import Client
from tandem.method.profile.endpoint import Capabilities
from tandem.v1 import tandem_pb2
from tests.able_api import MODEL, openai_server
from tests.recorded_api import recorded_api

_QUESTION = "What is 6 times 7?"
_WARM_UP = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=100)
    options = arguments.parse_args()
    with (
        recorded_api(openai_server(Capabilities(usage="at_end"))) as api,
        stack_of(dict.fromkeys(("llm", "slm"), f"{api.url}/v1#{MODEL}")) as client,
    ):
        pairs = [_pair(client, api.url) for _ in track(range(_WARM_UP + options.runs), description="pairs")]
    report("api-latency", _figures(pairs[_WARM_UP:]))


def _pair(client: Client, url: str) -> tuple[float, float]:
    """Milliseconds of the API, and of the system."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    started = time.perf_counter()
    with urllib.request.urlopen(request) as reply:
        reply.read()
    between = time.perf_counter()
    result = client.ask(_QUESTION, task="chat")
    ended = time.perf_counter()
    assert (result.answer, result.answered_by) == ("1, 2", tandem_pb2.ROLE_LLM)
    return 1000 * (between - started), 1000 * (ended - between)


def _figures(pairs: list[tuple[float, float]]) -> Figures:
    return {
        "api_ms": quantiles([api for api, _ in pairs]),
        "system_ms": quantiles([system for _, system in pairs]),
        "added_ms": quantiles([system - api for api, system in pairs]),
    }


if __name__ == "__main__":
    main()
