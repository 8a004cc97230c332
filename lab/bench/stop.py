"""Latency of a stop: from the decision to the large model's engine being stopped, and the tokens that it cost.

`python -m lab.bench.stop --runs 200` with the scripted test engine, `--real` with the default pair. The decision's time
is the start of the workflow task that decides, as Temporal recorded it; the end's is the engine's own clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.progress import track

from lab.bench.common import Figures, peak_memory_mb, quantiles, report
from tandem import Client
from tandem.local.certificates import authority_file
from tandem.local.supervisor import Stack
from tandem.paths import DEFAULT_PROFILE
from tandem.v1 import tandem_pb2
from tests.stacks import environment, scripted_stack, started_stack

_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class _Options:
    runs: int
    concurrent: int
    token_ms: int
    real: bool
    tls: bool


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--concurrent", type=int, default=1)
    arguments.add_argument(
        "--token-ms", type=int, default=2, help="of the test engine; raise it with --concurrent, on a busier machine"
    )
    arguments.add_argument("--real", action="store_true", help="the default pair instead of the test engine")
    arguments.add_argument("--tls", action="store_true", help="the processes and the client speak TLS")
    options = _Options(**vars(arguments.parse_args()))
    stacks = started_stack(DEFAULT_PROFILE, {}, tls=options.tls) if options.real else scripted_stack(tls=options.tls)
    with (
        stacks as stack,
        environment({"TANDEM_CA_FILE": str(authority_file(stack.certificates))} if options.tls else {}),
    ):
        results = _stop_requests(stack, options)
        memory = peak_memory_mb(stack)
    name = f"stop-{'real' if options.real else 'scripted'}-{options.concurrent}{'-tls' if options.tls else ''}"
    report(name, {**_figures(results, options), "peak_memory_mb": memory})


def _stop_requests(stack: Stack, options: _Options) -> list[tandem_pb2.SolveResult]:
    """The results of the requests that the rule stopped."""
    with Client(stack.gateway) as client, ThreadPoolExecutor(options.concurrent) as pool:

        def stop_once(number: int) -> tandem_pb2.SolveResult:
            if options.real:
                question = f"Tom has {number + 3} apples and buys {2 * number + 5} more. How many apples has he now?"
                return client.ask(question, thresholds={0: 1.0, 1: 0.0})
            return client.ask(f"[ms={options.token_ms} scores=16:0.9 slm_eos=8] {number}")

        for number in range(_WARM_UP):
            stop_once(1000 + number)
        runs = track(pool.map(stop_once, range(options.runs)), total=options.runs, description="requests")
        return [r for r in runs if r.stop.reason == tandem_pb2.STOP_REASON_SUFFICIENT]


def _figures(results: Sequence[tandem_pb2.SolveResult], options: _Options) -> Figures:
    stopped = [r.timings_ms.cancel for r in results if r.timings_ms.HasField("cancel")]
    return {
        "requests": options.runs,
        "stopped_while_writing": len(stopped),
        "concurrent": options.concurrent,
        "token_ms": None if options.real else options.token_ms,
        "decision_to_halt_ms": quantiles(stopped),
        "overrun_tokens": quantiles([float(r.usage.llm.overrun_tokens) for r in results]),
        "decision_to_first_answer_token_ms": quantiles([r.timings_ms.first_answer_token for r in results]),
    }


if __name__ == "__main__":
    main()
