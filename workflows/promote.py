"""Let new requests start on this build of the worker: `python -m workflows.promote`, once its workers run."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio.service import RPCError

from services.common.settings import read_settings
from services.common.temporal import connect
from workflows.versioning import promote
from workflows.worker import WorkerSettings

_PATIENCE = timedelta(minutes=5)


async def main() -> None:
    settings = read_settings(WorkerSettings)
    if settings.version is None:
        sys.exit("TANDEM_BUILD is not set: without a version there is nothing to promote")
    try:
        await promote(await connect(), settings.version, _PATIENCE)
    except RPCError as error:
        sys.exit(f"no worker of {settings.version} has come: {error.message}")
    print(f"new requests start on {settings.version}")


if __name__ == "__main__":
    asyncio.run(main())
