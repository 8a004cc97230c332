"""How far a request is, and what its shadow came to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from services.gateway.temporal import Status, Workflows
from services.shared.request_log.decisions import RESULT_SLOT
from services.shared.request_log.log import RequestLog
from tandem.method.errors import TandemError
from tandem.method.profile.profile import Profile
from tandem.method.request.result import ShadowResult


class States:
    def __init__(self, profiles: Mapping[str, Profile], workflows: Workflows, log: RequestLog) -> None:
        self._profiles, self._workflows, self._log = profiles, workflows, log

    async def status(self, request_id: str) -> Status:
        """Return the status as Temporal has it; a request whose result is published ends in Temporal a moment later,
        and is waited for.
        """
        status = await self._workflows.status(request_id)
        if status.state == "running":
            with suppress(TandemError):
                if await self._log.decisions.has(request_id, RESULT_SLOT):
                    return Status("completed", await self._workflows.result(request_id))
        return status

    async def is_published(self, request_id: str) -> bool:
        """Tell whether the request log has its result. False where that does not answer."""
        with suppress(TandemError):
            return await self._log.decisions.has(request_id, RESULT_SLOT)
        return False

    async def shadow(self, request_id: str, status: Status) -> ShadowResult | None:
        profile = self._profiles.get(status.result.profile) if status.result else None
        return await self._workflows.shadow(request_id) if profile and profile.shadow.share else None
