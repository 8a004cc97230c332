"""Start the insight generator: `python -m services.insight_generator`."""

from __future__ import annotations

from services.insight_generator.service import ROLE
from services.models.model_process import run_generator
from services.shared.process.start import run

if __name__ == "__main__":
    run(lambda: run_generator("insight-generator", ROLE))
