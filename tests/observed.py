"""What a process has to export: a result with a bill, and a scorer's drift."""

from __future__ import annotations

from tandem.method.request.result import (
    Cost,
    SolveResult,
    StageResult,
    Stop,
    StopReason,
    Timings,
)
from tandem.method.tokens import TokenCounts
from tests.planned import used

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def result(profile: str) -> SolveResult:
    usage = used(TokenCounts(10, 0, 40, 3, 7), TokenCounts(50, 5, 20), TokenCounts(60))
    models = {"llm": f"{profile}-llm", "slm": f"{profile}-slm", "scorer": f"{profile}-slm"}
    cost = Cost(0.03, {"llm": 0.02, "slm": 0.007, "scorer": 0.003}, 0.06, 0.5, 1.0, 2.0, 3.0, "v1", 0.001)
    return SolveResult(
        "r",
        profile,
        "q",
        "a",
        "a",
        Stop(2, StopReason.SUFFICIENT, 0.8, 0.7),
        [StageResult(2, "half", 40, 0.8, 0.7, "mlp", True)],
        models,
        usage,
        cost,
        Timings(900.0, 100.0, 500.0, 4.0, 60.0),
        TRACE_ID,
        1,
        True,
        ["a note"],
    )


class Shifted:
    """A scorer's drift, as its metrics need it."""

    monitored = ("perplexity_mean", "entropy_max")
    requests = 40

    def shift(self) -> list[float]:
        return [0.25, -1.5]
