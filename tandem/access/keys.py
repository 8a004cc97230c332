"""API keys in a file: `tandem keys` writes it, the gateway reads it. A secret is shown once and kept as its SHA-256.

The secret has 256 random bits, so a plain digest is safe: there is no dictionary to try. A key reads
`tandem_ID_SECRET`; its id is no secret and names the key in lists and logs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from tandem.errors import SetupError

ROLES = ("admin",)
TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFIX = "tandem"
_NO_DIGEST = "0" * 64


class KeyFileError(SetupError):
    """The file cannot be read, or a key in it does not exist; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`sha256` is the hexadecimal digest of the secret; `created_at` ISO 8601."""

    id: str
    tenant: str
    roles: tuple[str, ...]
    sha256: str
    created_at: str


class KeyFile:
    """The keys in `path`, which need not exist yet. Every method raises KeyFileError for a file that is none of
    keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        if not self.path.exists():
            return []
        try:
            return [_parsed(fields) for fields in json.loads(self.path.read_text())["keys"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise KeyFileError(f"{self.path} is no file of `tandem keys`: {error!r}") from error

    def create(self, tenant: str, roles: Sequence[str] = ()) -> tuple[ApiKey, str]:
        """Return a new key, and what its owner sends: the only time that it is seen. Raises KeyFileError for a bad
        name.
        """
        _check(tenant, roles)
        secret = secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._locked():
            keys = self.read()
            key = ApiKey(_new_id(keys), tenant, tuple(roles), _digest(secret), created)
            self._write([*keys, key])
        return key, f"{_PREFIX}_{key.id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """Take a key out; the gateway refuses it from its next call on. Raises KeyFileError for an unknown id."""
        with self._locked():
            keys = self.read()
            found = next((key for key in keys if key.id == key_id), None)
            if found is None:
                raise KeyFileError(f"{self.path} has no key {key_id!r}; `tandem keys list` shows those that it has")
            self._write([key for key in keys if key is not found])
        return found

    def _locked(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock")

    def _write(self, keys: Sequence[ApiKey]) -> None:
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps({"keys": [asdict(key) for key in keys]}, indent=1) + "\n")
        os.replace(partial, self.path)


def find_key(keys: Sequence[ApiKey], credential: str) -> ApiKey | None:
    """Return the key that `credential` is, or None. An unknown id takes as long as a wrong secret."""
    prefix, _, rest = credential.partition("_")
    key_id, _, secret = rest.partition("_")
    key = next((key for key in keys if key.id == key_id), None)
    is_equal = hmac.compare_digest(key.sha256 if key else _NO_DIGEST, _digest(secret))
    return key if is_equal and prefix == _PREFIX else None


def _check(tenant: str, roles: Sequence[str]) -> None:
    if not TENANT.fullmatch(tenant):
        raise KeyFileError(f"a tenant has 1 to 64 of the characters A-Z a-z 0-9 . _ -, not {tenant!r}")
    if unknown := [role for role in roles if role not in ROLES]:
        raise KeyFileError(f"there is no role {unknown[0]!r}; there is {', '.join(ROLES)}")


def _parsed(fields: dict[str, object]) -> ApiKey:
    roles = fields["roles"]
    if not isinstance(roles, list):
        raise TypeError("roles are a list")
    return ApiKey(
        id=str(fields["id"]),
        tenant=str(fields["tenant"]),
        roles=tuple(str(role) for role in roles),
        sha256=str(fields["sha256"]),
        created_at=str(fields["created_at"]),
    )


def _new_id(keys: Sequence[ApiKey]) -> str:
    taken = {key.id for key in keys}
    return next(found for found in iter(lambda: secrets.token_hex(4), "") if found not in taken)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
