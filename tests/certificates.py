"""Certificates for tests: an authority issues one to a process, as files that a transport reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.shared.process.transport import Transport, TransportSettings
from tandem.local.certificates import Authority


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of one process. `folder` is its own."""

    folder: Path

    def write(self, authority: Authority, process: str, trusted: bytes = b"") -> Issued:
        """Replace the files one after the other. `trusted`: other authorities than the one that signs."""
        chain, key = authority.issue(process)
        self.folder.mkdir(exist_ok=True)
        for name, text in (("tls.crt", chain), ("tls.key", key), ("ca.crt", trusted or authority.pem)):
            (self.folder / name).write_bytes(text)
        return self

    def transport(self, **settings: int | str | bool) -> Transport:
        files = (self.folder / name for name in ("tls.crt", "tls.key", "ca.crt"))
        named = dict(zip(("certificate", "key", "authorities"), files, strict=True))
        return TransportSettings.model_validate({**named, **settings}).transport()


def issue(folder: Path, authority: Authority, process: str, trusted: bytes = b"") -> Issued:
    return Issued(folder / process).write(authority, process, trusted)
