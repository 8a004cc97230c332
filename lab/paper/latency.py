"""SIMULATED: how long each method takes where the models have a GPU each, by the rates that docs/sizing.md states for
its arithmetic.

Nobody measured these rates. A sequence writes at a pod's rate divided by the sequences of its batch, and a prompt is
read at the pod's rate. The tokens are those of the shipped pair's answers, or the paper's published means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.paper.answers import STUDY, collected, judged_at
from lab.paper.methods import TESTS
from lab.training.evaluate import scores_of
from lab.training.metrics import Interval, ratio_of_means
from lab.training.names import LLM_ALONE, OURS
from lab.training.pricing import PricedCourse
from tandem.method.profile.prices import RoleRates
from tandem.method.request.plan import Plan

BATCH = 64
LARGE, SMALL = (9000.0, 1500.0), (20000.0, 4000.0)  # read, written; tokens a second of a pod with a full batch
_CACHED = 1e9
METHODS = (LLM_ALONE, "paper:zero", OURS)
OVERLAPPED = f"{OURS}:overlapped"
# Published means for MATH: tokens of the 32B model alone; of the 32B model and of both with Tandem (docs/paper.md).
_ALONE, _INSIGHT, _BOTH = 2630, 920, 2916


@dataclass(frozen=True)
class Latency:
    """`alone`: seconds of the large model alone, mean. `ratios`: time to the whole answer, relative to it, by
    method.
    """

    test: str
    alone: float
    ratios: dict[str, Interval]


def role(pod: tuple[float, float]) -> RoleRates:
    read, written = pod
    return RoleRates(read, _CACHED, written / BATCH)


def simulated(plan: Plan) -> Plan:
    """With the pods' rates of docs/sizing.md."""
    rates = {name: role(LARGE if name == "llm" else SMALL) for name in plan.models}
    return replace(plan, models={name: replace(model, rates=rates[name]) for name, model in plan.models.items()})


def latencies() -> Iterator[Latency]:
    for test in TESTS:
        plan = simulated(collected(test).plan)
        found = judged_at(test, plan)
        outcomes = {name: found.outcomes[name] for name in METHODS if name in found.outcomes}
        outcomes[OVERLAPPED] = _overlapped(test, plan)
        alone = outcomes[LLM_ALONE].latency
        yield Latency(
            test, float(alone.mean()), {name: ratio_of_means(each.latency, alone) for name, each in outcomes.items()}
        )


def _overlapped(test: str, plan: Plan) -> PricedCourse:
    """Ours, where the large model writes while the small one tries."""
    served, table = STUDY.policies().served, collected(test).table
    policy = replace(served, trial=replace(served.trial, mode="overlapped"))
    return policy.run(table, plan, scores_of(STUDY.artefact(served.kind), table))


def published_ratio() -> float:
    """The time of the large model alone, by Tandem's, at the published mean tokens and the stated rates."""
    large, small = LARGE[1] / BATCH, SMALL[1] / BATCH
    return (_ALONE / large) / (_INSIGHT / large + (_BOTH - _INSIGHT) / small)
