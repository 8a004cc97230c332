"""Start the executor of a profile's second small model: `python -m services.slm_executor.second`."""

from __future__ import annotations

from services.process.model_process import run_generator
from services.process.start import run
from services.slm_executor.service import SECOND

if __name__ == "__main__":
    run(lambda: run_generator("second-slm-executor", SECOND))
