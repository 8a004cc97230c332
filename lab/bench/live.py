"""The served system against the collected answers: `python -m lab.bench.live`, the default pair on llama.cpp, with
Jaeger.

The first functions of lab/bench/fixtures/humaneval-llamacpp.parquet that a check applies to are asked live. Offline,
the profile's trials are replayed on the collected answers. Counts how often both answers come from the same stage, and
how often the steps in Jaeger are the bill.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.bench.common import Figures, default_profile, report
from lab.training.datasets import Item, load
from lab.training.live import Compared, compare
from lab.training.policy import Policy
from lab.training.pricing import LLM
from lab.training.store import read
from lab.training.table import Table, make_table
from tandem import Client
from tandem.client.results import to_dict
from tandem.local.layout import engine_name
from tandem.method.profile.profile import Profile
from tandem.method.request.plan import make_plan
from tandem.paths import DEFAULT_PROFILE
from tandem.tracing.jaeger import Trace, fetch_recent
from tandem.v1 import tandem_pb2
from tests.stacks import started_stack

_COLLECTED = Path(__file__).parent / "fixtures" / "humaneval-llamacpp.parquet"
_EXPORT_SECONDS = 10  # until the last spans are in Jaeger


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=30)
    options = arguments.parse_args()
    profile, usd = default_profile(), list[float]()
    table = _checked(profile)
    items = {item.id.partition("/")[2]: item for item in load("humaneval").items}  # as training.live names them
    with started_stack(DEFAULT_PROFILE, {}, jaeger=True) as stack, Client(stack.gateway) as client:

        def ask(item: Item) -> dict[str, Any]:
            result = client.ask(item.question, code=True)
            usd.append(result.cost.usd)
            print(
                f"{len(usd)}: {item.id} {tandem_pb2.StopReason.Name(result.stop.reason)}, {result.cost.usd:.8f} USD",
                flush=True,
            )
            return to_dict(result)

        plan, scores = make_plan(profile), np.zeros((len(table.questions), table.stages))
        never = (1.0,) * table.stages  # no stage of a function is scored
        policy = Policy(never, llm_finishes=True, needs_pass=False, trial=plan.trial)
        compared = compare(table, plan, policy, scores, items, options.tasks, ask)
        time.sleep(_EXPORT_SECONDS)
        traces = fetch_recent(stack.jaeger, len(compared))
    report("live", {"engine": engine_name(), **_figures(compared), **_traced(traces, usd)})


def _checked(profile: Profile) -> Table:
    """The questions where a check could tell."""
    table = make_table(read(_COLLECTED)[1], len(profile.stages))
    return table.take(table.slm.passed[:, 0] | table.slm.failed[:, 0])


def _figures(compared: Sequence[Compared]) -> Figures:
    return {
        "n": len(compared),
        "same_stage": sum(each.agrees for each in compared),
        "from_the_small_model": sum(each.live_stage != LLM for each in compared),
        "others": [each.question for each in compared if not each.agrees],
    }


def _traced(traces: Sequence[Trace], usd: Sequence[float]) -> Figures:
    """`usd` of the bills that the client got."""
    whole = [trace for trace in traces if trace.adds_up]
    return {
        "traces_whose_steps_are_their_bill": len(whole),
        "bills_of_the_client_in_traces": bool(
            np.allclose(sorted(trace.total_usd for trace in traces), sorted(usd), rtol=1e-9)
        ),
    }


if __name__ == "__main__":
    main()
