"""Start the insight generator and the executor as one process: `python -m services.model_apis`.

Requests to APIs wait most of the time, so one event loop does for both, and what the process imports is there once.
"""

from __future__ import annotations

from services.insight_generator.service import ROLE as LARGE
from services.models.model_process import run_generator
from services.shared.process.start import run
from services.slm_executor.service import model_role

if __name__ == "__main__":
    run(lambda: run_generator("model-apis", LARGE, model_role()))
