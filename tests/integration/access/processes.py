"""What each process serves to the others, and to whom: from the code of each."""

from __future__ import annotations

from dataclasses import dataclass

from services.answer_checker import service as answer_checker
from services.gateway import __main__ as gateway
from services.insight_generator import service as insight_generator
from services.shared.process.callers import NOBODY, Callers
from services.slm_executor import service as slm_executor
from services.sufficiency_scorer import service as sufficiency_scorer


@dataclass(frozen=True, slots=True)
class Served:
    """A gRPC service of a process, and the processes that may call it."""

    service: str
    callers: Callers


SERVED = {
    "insight-generator": Served(insight_generator.NAME, insight_generator.CALLERS),
    "sufficiency-scorer": Served(sufficiency_scorer.NAME, sufficiency_scorer.CALLERS),
    "slm-executor": Served(slm_executor.NAME, slm_executor.CALLERS),
    "answer-checker": Served(answer_checker.NAME, answer_checker.CALLERS),
    "worker": Served("tandem.v1.Worker", NOBODY),
    "gateway": Served(gateway.NAME, gateway.CALLERS),
}
"""By process. The HTTP gateway serves no gRPC."""
INTERNAL = {served.service for name, served in SERVED.items() if name != "gateway"}
"""Services that no client calls."""
