"""Which processes may call a service. A process is named by the SPIFFE id in its certificate: spiffe://tandem/worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tandem.method.errors import PermissionDenied

AuthContext = Mapping[str, Iterable[bytes]]
"""What gRPC knows of the peer of a call."""


@dataclass(frozen=True, slots=True)
class Callers:
    """`processes` may call, by their certificates. `anyone`: so may those whom nobody asks for one, as at the gateway's public
    port, where the credential of a call decides.
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
