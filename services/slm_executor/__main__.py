"""Start the SLM executor: `python -m services.slm_executor`. TANDEM_ROLE names which of a profile's small models it
runs: slm by default, second_slm, ...
"""

from __future__ import annotations

import os

from services.models.model_process import run_generator
from services.shared.process.start import run
from services.slm_executor.service import model_role
from tandem.errors import SetupError
from tandem.method.roles import SLM, SMALL_ROLES, executor_of


def _role() -> str:
    """Raises SetupError for a role that no small model has."""
    role = os.environ.get("TANDEM_ROLE") or SLM
    if role not in SMALL_ROLES:
        raise SetupError(f"TANDEM_ROLE is {role!r}: it is one of {', '.join(SMALL_ROLES)}")
    return role


async def main() -> None:
    role = _role()
    await run_generator(executor_of(role), model_role(role))


if __name__ == "__main__":
    run(main)
