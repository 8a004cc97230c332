"""What refuses a call before it is served: by the SPIFFE id in the peer's certificate (spiffe://tandem/worker), and by
metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from tandem.method.errors import PermissionDenied

logger = logging.getLogger(__name__)

AuthContext = Mapping[str, Iterable[bytes]]
"""What gRPC knows of the peer of a call."""


@dataclass(frozen=True, slots=True)
class Callers:
    """`processes` may call, by their certificates. `anyone`: so may those whom nobody asks for one, as at the gateway's
    public port, where the credential of a call decides.
    """

    processes: frozenset[str] = frozenset()
    anyone: bool = False

    @classmethod
    def only(cls, *processes: str) -> Callers:
        return cls(frozenset(processes))

    def check(self, peer: AuthContext, trust_domain: str) -> None:
        """Raises PermissionDenied."""
        if self.anyone and "x509_pem_cert" not in peer:
            return
        [identity] = [each.decode(errors="replace") for each in peer.get("peer_spiffe_id", ())] or [""]
        if identity not in {spiffe_id(process, trust_domain) for process in self.processes}:
            raise PermissionDenied(
                f"{identity or 'a certificate without a SPIFFE id'} may not call this process", reason="WRONG_PROCESS"
            )


NOBODY = Callers()
"""Health alone: it needs a certificate of the authority, but no name."""


def spiffe_id(process: str, trust_domain: str) -> str:
    return f"spiffe://{trust_domain}/{process}"


CallCheck = Callable[[Mapping[str, str]], Awaitable[None]]
"""Is given the metadata of a call; raises a TandemError to refuse it."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`callers`: the processes that may call; None where no certificates are asked for. `checks` come after."""

    checks: Sequence[CallCheck] = ()
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
