"""Where a client finds the gateway, and what it sends along: an API key or token, over TLS where the address says
so.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

from tandem.errors import RequestError, UserError
from tandem.paths import default_address, local_authority

_TLS = "https://"
_NOT_OF_A_HEADER = re.compile(r"[^\x20-\x7e]")
_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of the pings by which gRPC measures bandwidth, which keepalive waits for
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.lb_policy_name", "round_robin"),  # a name may stand for several gateways
    # It is looked up again when a connection ends, which a gateway sees to each minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
]


@dataclass(frozen=True, slots=True)
class Gateway:
    """`address` is `host:port`, or `https://host:port` for TLS, which is checked with the certificates in the file that
    TANDEM_CA_FILE names, else those of the local stack at this address, else the usual ones. `credential` is sent as
    `Authorization: Bearer`; empty: nothing is sent.
    """

    address: str
    credential: str = ""

    @classmethod
    def of(cls, address: str, credential: str) -> Gateway:
        """What is empty comes from TANDEM_ADDRESS, else the local stack, and from TANDEM_API_KEY."""
        return cls(address or default_address(), credential or os.environ.get("TANDEM_API_KEY", ""))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Raises RequestError, UNAUTHENTICATED, for a credential that no header can hold."""
        if wrong := _NOT_OF_A_HEADER.search(self.credential):
            where = f"U+{ord(wrong.group()):04X} at character {wrong.start() + 1}"
            raise RequestError(
                grpc.StatusCode.UNAUTHENTICATED,
                f"a key or token is of visible ASCII characters; this one has {where}",
                "INVALID_CREDENTIAL",
            )
        return (("authorization", f"Bearer {self.credential}"),) if self.credential else ()

    def channel(self) -> grpc.Channel:
        """Raises UserError where TANDEM_CA_FILE cannot be read."""
        if self._is_tls:
            return grpc.secure_channel(self._target, self._tls(), options=_OPTIONS)
        return grpc.insecure_channel(self._target, options=_OPTIONS)

    def aio_channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
        """`credentials` instead of what the address stands for. Raises as `channel`."""
        if credentials or self._is_tls:
            return grpc.aio.secure_channel(self._target, credentials or self._tls(), options=_OPTIONS)
        return grpc.aio.insecure_channel(self._target, options=_OPTIONS)

    @property
    def authority(self) -> Path | None:
        """The file of the certificates that the gateway's is checked with; None: the usual ones."""
        named = os.environ.get("TANDEM_CA_FILE")
        return Path(named) if named else local_authority(self.address)

    @property
    def _is_tls(self) -> bool:
        return self.address.startswith(_TLS)

    @property
    def _target(self) -> str:
        return self.address.removeprefix(_TLS).rstrip("/")

    def _tls(self) -> grpc.ChannelCredentials:
        file = self.authority
        try:
            return grpc.ssl_channel_credentials(file.read_bytes() if file else None)
        except OSError as error:
            raise UserError(f"TANDEM_CA_FILE: {error}") from error
