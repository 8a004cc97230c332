"""What refuses a call before it is served: by the peer's certificate, and by the call's metadata."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from services.process.callers import Callers
from tandem.method.errors import PermissionDenied

logger = logging.getLogger(__name__)

Check = Callable[[Mapping[str, str]], Awaitable[None]]
"""Is given the metadata of a call; raises a TandemError to refuse it."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`callers`: the processes that may call; None where no certificates are asked for. `checks` come after."""

    checks: Sequence[Check] = ()
    callers: Callers | None = None
    trust_domain: str = ""

    async def admit(self, context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
        """Raises a TandemError."""
        if self.callers is not None:
            self._check_peer(self.callers, context, method)
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        for check in self.checks:
            await check(metadata)

    def _check_peer(self, callers: Callers, context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
        try:
            callers.check(context.auth_context(), self.trust_domain)
        except PermissionDenied as error:
            logger.warning("refused %s: %s", method, error)
            raise


NO_GUARD = Guard()
