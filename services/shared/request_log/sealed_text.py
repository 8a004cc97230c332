"""The text in Redis: encrypted where there are keys, as it is where there are none.

An entry of encrypted text has the name of its key in the field `key`. Entries without one are read as they are, so that
keys can be introduced while requests run.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.shared.request_log.connection import STAGES, Role
from services.shared.sealing.keys import unreadable

if TYPE_CHECKING:  # the library is loaded where there are keys
    from services.shared.sealing.sealer import Sealer

_PADDED_TO = 64  # bytes: the length of each token would give away what was written (Weiss et al., 2024)


class SealedText:
    """Encryption and decryption of the entries of a request's streams. `opened` raises FailedPrecondition."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def delta(self, request_id: str, role: Role, seq: int, text: str, listed: str) -> tuple[str, str, str]:
        """The fields text, ids and key of the stream's entry `seq`. Token ids are text: whoever has the tokenizer reads
        them.
        """
        if self._sealer is None:
            return text, listed, ""
        whole = json.dumps([text, listed], ensure_ascii=False)
        return self._sealed(self._sealer, request_id, f"{role}:{seq}", whole), "", self._sealer.active

    def decision(self, request_id: str, slot: int, payload: str) -> dict[str, str]:
        """The fields of a decision in JSON. All are encrypted, also those that hold only numbers."""
        return self.kept(request_id, f"decisions:{slot}", payload)

    def kept(self, request_id: str, place: str, payload: str) -> dict[str, str]:
        """The fields of what is JSON, and stands at `place` among the request's keys."""
        if self._sealer is None:
            return {"payload": payload}
        sealed = self._sealed(self._sealer, request_id, place, payload)
        return {"payload": sealed, "key": self._sealer.active}

    def opened(self, request_id: str, stream: str, entry_id: str, fields: Mapping[str, str]) -> dict[str, str]:
        """An entry of `stream` as it was before it was encrypted."""
        found = dict(fields)
        if not (key := found.pop("key", "")):
            return found
        of = Role.INSIGHT if stream == STAGES else stream
        place, field = f"{of}:{entry_id.partition('-')[0]}", "payload" if "payload" in found else "text"
        plain = self._opened(key, request_id, place, found[field])
        if field == "payload":
            return {**found, "payload": plain}
        text, ids = json.loads(plain)
        return {**found, "text": text, "ids": ids}

    def _sealed(self, sealer: Sealer, request_id: str, place: str, text: str) -> str:
        """`text` is JSON, which ends in as many spaces as one likes."""
        data = text.encode()
        padded = data.ljust(-(-len(data) // _PADDED_TO) * _PADDED_TO)
        return base64.b64encode(sealer.seal(padded, place.encode(), scope=request_id)).decode()

    def _opened(self, key: str, request_id: str, place: str, sealed: str) -> str:
        if self._sealer is None:
            raise unreadable(f"it was encrypted with the key {key!r}, and this process has no TANDEM_PAYLOAD_KEYS")
        try:
            data = base64.b64decode(sealed, validate=True)
        except binascii.Error:
            raise unreadable("it was changed") from None
        return self._sealer.open(key, data, place.encode(), scope=request_id).decode()
