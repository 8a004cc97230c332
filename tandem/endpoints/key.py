"""The key of an endpoint, from where its profile says: a profile is read by many, and a command line by everyone on the
machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from tandem.errors import SetupError
from tandem.method.profile.endpoint import FILE, Api


def endpoint_key(api: Api) -> str:
    """Empty where none is sent. Raises SetupError where its place is empty."""
    if not api.key:
        return ""
    if api.key.startswith(FILE):
        try:
            found = Path(api.key.removeprefix(FILE)).expanduser().read_text().strip()
        except OSError as error:
            raise SetupError(f"the key's file cannot be read: {error}") from error
    else:
        found = os.environ.get(api.key, "").strip()
    if not found:
        raise SetupError(f"{api.key} holds no key for {api.url}: set it")
    return found
