"""Start the SLM executor: `python -m services.slm_executor`."""

from __future__ import annotations

from services.process.model_process import run_generator
from services.process.start import run
from services.slm_executor.service import ROLE

if __name__ == "__main__":
    run(lambda: run_generator("slm-executor", ROLE))
