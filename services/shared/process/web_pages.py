"""What a page of somebody else, open in a browser that reaches this process, may not do.

A browser that runs on this machine, or in this network, reaches what strangers do not. Two rules keep its pages out:

- Host: a page of evil.example whose name is made to point here (DNS rebinding) is of one origin with this process, so
  it may read every answer; but its browser still says `Host: evil.example`. An address instead of a name cannot be made
  to point elsewhere.
- Origin: a page of another origin cannot read answers, but a browser sends simple requests for it, such as a form's,
  unasked.

Not Starlette's TrustedHostMiddleware: it takes no addresses, answers in plain text, and knows nothing of origins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_CHANGE_NOTHING = ("GET", "HEAD", "OPTIONS")
_OWN = ("same-origin", "none")  # of Sec-Fetch-Site: this process's own page, and what the browser's user typed


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class WebPages:
    """`hosts`: the names that this process is called by, besides localhost; `*.example.com` is any below, `*` any;
    None: no name is refused. `origins`: whose pages may ask besides this process's own. `private`: below this path
    pages may not even read.
    """

    hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
    private: str = ""

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """None where the request may be served. A program that is no browser says neither Origin nor Sec-Fetch-Site."""
        named = headers.getlist("host")
        if self.hosts is not None and not all(self._is_own(host) for host in named):
            return Refusal(421, _HOST.format(", ".join(named)[:200]), "host_not_allowed")
        is_asked = method not in _CHANGE_NOTHING or (self.private and path.startswith(self.private))
        if is_asked and not self._may_ask(headers, named):
            return Refusal(403, _ORIGIN.format(headers.get("origin", "another site")[:200]), "origin_not_allowed")
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return not name or _is_address(name) or any(_fits(name, each) for each in ("localhost", *(self.hosts or ())))

    def _may_ask(self, headers: Headers, named: Iterable[str]) -> bool:
        site, origin = headers.get("sec-fetch-site", ""), headers.get("origin", "")
        if site in _OWN or (origin and origin in self.origins):
            return True
        if site:
            return False
        # A browser says Sec-Fetch-Site to https and localhost only.
        return not origin or {_authority(origin)} == {host.lower() for host in named}


class PageGuard:
    """Answers what WebPages refuses, before anything else is done for it. `answer`: the refusal of what was asked
    at a path, in the form of this process's errors there.
    """

    def __init__(self, app: ASGIApp, pages: WebPages, answer: Callable[[Refusal, str], ASGIApp]) -> None:
        self._app, self._pages, self._answer = app, pages, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._pages.refusal(scope["method"], scope["path"], Headers(scope=scope))
            if refusal is not None:
                await self._answer(refusal, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


_HOST = (
    "this process does not answer to the name {!r}: call it by localhost or an address, or let its operator name the "
    "host in TANDEM_ALLOWED_HOSTS"
)
_ORIGIN = (
    "pages of {!r} may not ask here: its operator names those that may in TANDEM_ALLOWED_ORIGINS; programs "
    "send no Origin"
)


def _authority(origin: str) -> str:
    """Host and port; something that is none where the origin is opaque."""
    scheme, _, authority = origin.partition("://")
    return authority if scheme in ("http", "https") else "null"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _fits(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:].lower()) if pattern.startswith("*") else name == pattern.lower()
