"""How much of each limit a tenant has used, for those who look; what decides is the account's script."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from services.request_log.accounts import Standing, resets
from tandem.tenants import TenantLimits


@dataclass(frozen=True, slots=True)
class LimitUse:
    """Of one limit that is counted. USD where its name says so. `most`: None does not limit. `resets_at`: None where each use leaves
    by itself.
    """

    limit: str
    used: float
    most: float | None
    resets_at: datetime | None

    @property
    def ratio(self) -> float | None:
        """The used share; 1 where nothing is allowed, None where nothing limits."""
        if self.most is None:
            return None
        return self.used / self.most if self.most else 1.0


def limit_uses(limits: TenantLimits, standing: Standing, now: datetime) -> list[LimitUse]:
    day, month = resets(now)
    ends = {"usd_per_day": day, "usd_per_month": month}
    return [
        LimitUse(name, count / 1e9 if name in ends else count, getattr(limits, name), ends.get(name))
        for name, count in asdict(standing).items()
    ]
