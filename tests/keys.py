"""Keys of tests, that encrypt what is kept of a request."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from services.shared.sealing.keys import PayloadKeys
from services.shared.sealing.sealer import Sealer


def payload_keys(active: str, *others: str) -> PayloadKeys:
    names = (active, *others)
    return PayloadKeys(active=active, keys={n: base64.b64encode(n.encode().ljust(32, b".")).decode() for n in names})


def sealer(active: str, *others: str) -> Sealer:
    return Sealer(payload_keys(active, *others))


def key_file(folder: Path, active: str, *others: str) -> str:
    file = folder / f"{active}.json"
    file.write_text(json.dumps(payload_keys(active, *others).model_dump()))
    return str(file)
