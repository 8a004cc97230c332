"""How fast the stop is: from the decision to the halt of the large model's engine, and the tokens that it cost.

`python -m bench.stop --runs 200` with a fast test engine, `--real` with the default pair. The decision's time is the
start of the workflow task that decides, as Temporal recorded it; the halt's is the engine's own clock.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.progress import track

from bench.common import local_stack, peak_memory_mb, quantiles, report
from tandem import Client
from tandem.paths import DEFAULT_PROFILE
from tandem.v1 import tandem_pb2

_WARM_UP = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--concurrent", type=int, default=1)
    arguments.add_argument(
        "--token-ms", type=int, default=2, help="of the test engine; the busier, the longer it must write"
    )
    arguments.add_argument("--real", action="store_true", help="the default pair instead of the test engine")
    options = arguments.parse_args()
    profile = DEFAULT_PROFILE if options.real else "scripted"
    with local_stack(profile, scripted=not options.real) as stack, Client(stack.gateway) as client:

        def stop_once(number: int) -> tandem_pb2.SolveResult:
            if options.real:
                question = f"Tom has {number + 3} apples and buys {2 * number + 5} more. How many apples has he now?"
                return client.ask(question, thresholds={0: 1.0, 1: 0.0})
            return client.ask(f"[ms={options.token_ms} scores=16:0.9 slm_eos=8] {number}")

        for number in range(_WARM_UP):
            stop_once(1000 + number)
        with ThreadPoolExecutor(options.concurrent) as pool:
            runs = track(pool.map(stop_once, range(options.runs)), total=options.runs, description="requests")
            results = [r for r in runs if r.stop.reason == tandem_pb2.STOP_REASON_SUFFICIENT]
        memory = peak_memory_mb(stack)
    name = f"stop-{'real' if options.real else 'scripted'}-{options.concurrent}"
    report(name, {**_summary(results, options), "peak_memory_mb": memory})


def _summary(results: list[tandem_pb2.SolveResult], options: argparse.Namespace) -> dict[str, Any]:
    halted = [r.timings_ms.cancel for r in results if r.timings_ms.HasField("cancel")]
    return {
        "requests": options.runs,
        "stopped_while_writing": len(halted),
        "concurrent": options.concurrent,
        "token_ms": None if options.real else options.token_ms,
        "decision_to_halt_ms": quantiles(halted),
        "overrun_tokens": quantiles([float(r.usage.llm.overrun_tokens) for r in results]),
        "decision_to_first_answer_token_ms": quantiles([r.timings_ms.first_answer_token for r in results]),
    }


if __name__ == "__main__":
    main()
