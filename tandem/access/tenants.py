"""What each tenant may use, in a JSON file: `tandem tenants` writes it, the gateway reads it and sees changes at once.

    {"default": {"requests_per_minute": 60}, "tenants": {"acme": {"usd_per_day": 5, "profiles": ["PROFILE"]}}}

`default` holds for every tenant without an entry; without it such tenants have no limits.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from tandem.access.keys import TENANT
from tandem.errors import SetupError

_WHOLE = ("requests_per_minute", "concurrent_requests", "tokens_per_minute", "keep_outcomes_days", "keep_disputes_days")
_NO_LIMITS = ("passes", "keep_outcomes_days", "lose_at_most", "keep_disputes_days")
DISPUTE_DAYS = 30
_MOST_LOST = 0.5
LISTS = ("profiles", "passes")
_KEYS = {"default", "tenants"}


class TenantFileError(SetupError):
    """The file cannot be read, or a limit in it means nothing; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """None does not limit. Days and months are UTC; tokens are all that the models read anew or write.

    `usd_per_request` is the largest budget of one request, and the budget of one that names none. A turn of a session
    begins only while that has cost less than `usd_per_session`. `passes`: names that its bodies may say to an endpoint
    beside those in the endpoint's `pass`. `keep_outcomes_days`: consent, for how long outcomes of requests are kept for
    a calibration, without text; None: not at all. `lose_at_most`: the tenant's own number in place of the profile's
    promise, 0 for none. `keep_disputes_days`: consent, for how long texts of disputes are kept for a label; None: for
    `DISPUTE_DAYS` where the number is the tenant's own, else not at all.
    """

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    usd_per_request: float | None = None
    usd_per_session: float | None = None
    profiles: tuple[str, ...] | None = None
    passes: tuple[str, ...] | None = None
    keep_outcomes_days: int | None = None
    lose_at_most: float | None = None
    keep_disputes_days: int | None = None

    @property
    def are_limits(self) -> bool:
        """Whether anything here limits what the tenant may use."""
        return replace(self, **dict.fromkeys(_NO_LIMITS)) != NO_LIMITS

    @property
    def dispute_days(self) -> int:
        """For how many days texts of disputes are kept for a label; 0: not at all."""
        usual = DISPUTE_DAYS if self.lose_at_most else 0
        return usual if self.keep_disputes_days is None else self.keep_disputes_days

    @property
    def counts(self) -> bool:
        """Some limit needs an account of what the tenant has used."""
        limits = (self.requests_per_minute, self.concurrent_requests, self.tokens_per_minute)
        return any(limit is not None for limit in (*limits, self.usd_per_day, self.usd_per_month))


NO_LIMITS = TenantLimits()
LIMITS = tuple(each.name for each in fields(TenantLimits))


@dataclass(frozen=True, slots=True)
class Tenants:
    default: TenantLimits = NO_LIMITS
    by_name: Mapping[str, TenantLimits] = field(default_factory=dict)

    def limits(self, tenant: str) -> TenantLimits:
        return self.by_name.get(tenant, self.default)

    def keep_days(self, tenant: str) -> int:
        """Return for how many days the tenant lets its outcomes be kept for a calibration; 0: not at all."""
        return self.limits(tenant).keep_outcomes_days or 0

    def with_limits(self, tenant: str, limits: TenantLimits) -> Tenants:
        """`tenant` is a name, or empty for the default."""
        if not tenant:
            return Tenants(limits, self.by_name)
        return Tenants(self.default, {**self.by_name, tenant: limits})


class TenantFile:
    """Every method raises TenantFileError for a file that is none of tenants."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Tenants:
        """Raises TenantFileError also where there is no file: without it nothing would be limited."""
        try:
            return _parsed(json.loads(self.path.read_text()))
        except FileNotFoundError:
            raise TenantFileError(f"there is no {self.path}; `tandem tenants set` makes it") from None
        except (OSError, ValueError, TypeError) as error:
            raise TenantFileError(f"{self.path} is no file of tenants: {error}") from error

    def set(self, tenant: str, changes: Mapping[str, object]) -> TenantLimits:
        """Change some limits of a tenant, or of the default where `tenant` is empty. Returns all of its limits."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            tenants = self.read() if self.path.exists() else Tenants()
            known = tenants.default if not tenant else tenants.by_name.get(tenant, NO_LIMITS)
            try:
                limits = _limits(tenant or "default", {**asdict(known), **changes})
                changed = _parsed(_as_json(tenants.with_limits(tenant, limits)))
            except ValueError as error:
                raise TenantFileError(str(error)) from error
            self._write(changed)
        return limits

    def _write(self, tenants: Tenants) -> None:
        partial = self.path.with_name(f"{self.path.name}.partial")
        partial.write_text(json.dumps(_as_json(tenants), indent=1) + "\n")
        os.replace(partial, self.path)


def shown(limits: TenantLimits) -> dict[str, Any]:
    """Return the limits that are set, as the file has them."""
    found = {name: getattr(limits, name) for name in LIMITS}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v is not None}


def _as_json(tenants: Tenants) -> dict[str, Any]:
    default = {"default": shown(tenants.default)} if tenants.default != NO_LIMITS else {}
    return {**default, "tenants": {name: shown(limits) for name, limits in sorted(tenants.by_name.items())}}


def _parsed(content: Any) -> Tenants:
    if not isinstance(content, dict) or not isinstance(named := content.get("tenants", {}), dict):
        raise ValueError('it is not {"default": {...}, "tenants": {"NAME": {...}}}')
    if unknown := sorted(content.keys() - _KEYS):
        raise ValueError(f"there is no {unknown[0]!r} in it; there are {' and '.join(sorted(_KEYS))}")
    for name in named:
        if not TENANT.fullmatch(name):
            raise ValueError(f"a tenant has 1 to 64 of the characters A-Z a-z 0-9 . _ -, not {name!r}")
    by_name = {name: _limits(name, limits) for name, limits in named.items()}
    return Tenants(_limits("default", content.get("default", {})), by_name)


def _limits(tenant: str, found: Any) -> TenantLimits:
    if not isinstance(found, dict):
        raise ValueError(f"the limits of {tenant} are no object")
    if unknown := sorted(found.keys() - set(LIMITS)):
        raise ValueError(f"{tenant} has no limit {unknown[0]!r}; there are {', '.join(LIMITS)}")
    return TenantLimits(**{name: _value(tenant, name, value) for name, value in found.items() if value is not None})


def _value(tenant: str, name: str, value: Any) -> Any:
    if name in LISTS:
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{name} of {tenant} are a list of names, not {value!r}")
        return tuple(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    is_whole = isinstance(value, int) or name not in _WHOLE
    if not (is_number and is_whole) or value < 0:
        kind = "whole number" if name in _WHOLE else "number"
        raise ValueError(f"{name} of {tenant} is a {kind} of at least 0, not {value!r}")
    if name == "usd_per_request" and value == 0:
        raise ValueError(f"usd_per_request of {tenant} lies above 0; an empty list of profiles admits nothing")
    if name == "lose_at_most" and value > _MOST_LOST:
        raise ValueError(f"lose_at_most of {tenant} is a share of at most {_MOST_LOST:g}, not {value!r}")
    return value
