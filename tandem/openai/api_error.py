"""An error as the three APIs say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tandem.client.contract import readable

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class ApiError:
    """`status` is HTTP's; `param` is the place in the body, where there is one."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """In OpenAI's shape."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return {"error": {"message": readable(self.message), "type": kind, "param": self.param, "code": self.code}}
