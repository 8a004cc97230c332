"""The request log as each process opens it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from services.request_log.log import RequestLog
from tandem.redis_users import USERS

Logs = Mapping[str, RequestLog]
"""By process."""


def request_logs(redis: str | Logs, ttl: timedelta) -> Logs:
    """One for each process, at a URL that asks nobody who it is; or those that a test has opened."""
    return {user.process: RequestLog(redis, ttl) for user in USERS} if isinstance(redis, str) else redis
