"""Between an agent and what it asks: passes all on as it is, and notes what an agent does not print."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from lab.bench.agents.protocols import NAMES

_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}
USD = re.compile(r'"cost": ?\{[^{}]*?"usd": ?([0-9.eE+-]+)')


@dataclass(frozen=True)
class Exchange:
    """`dropped`: as the header x-tandem-dropped says; `error`: the begin of a refusal; `usd`: the bill's, where one
    came.
    """

    path: str
    status: int
    fields: frozenset[str]
    seconds: float
    dropped: frozenset[str] = frozenset()
    error: str = ""
    usd: float | None = None


@dataclass
class Tee:
    url: str
    seen: list[Exchange] = field(default_factory=list)


@contextmanager
def tee(target: str) -> Iterator[Tee]:
    """A server that stands before `target`, an address without a path."""
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _pass(self) -> None:
            self.close_connection = True
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            began = time.perf_counter()
            headers = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "connection")}
            headers["accept-encoding"] = "identity"
            connection = http.client.HTTPConnection(host, timeout=600)
            try:
                connection.request(self.command, self.path, body or None, headers)
                reply = connection.getresponse()
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("connection", "close")
                self.end_headers()
                text = bytearray()
                while piece := reply.read1(1 << 16):
                    text += piece
                    self.wfile.write(piece)
                    self.wfile.flush()
                self._note(body, reply, bytes(text), time.perf_counter() - began)
            except OSError:
                return  # the agent has gone
            finally:
                connection.close()

        def _note(self, body: bytes, reply: http.client.HTTPResponse, text: bytes, seconds: float) -> None:
            path = self.path.partition("?")[0]
            if self.command != "POST" or path not in NAMES:
                return
            given: Any = {}
            with suppress(ValueError):
                given = json.loads(body)
            dropped = {name.strip() for name in (reply.getheader("x-tandem-dropped") or "").split(",")} - {""}
            said = text.decode(errors="replace")
            found = USD.findall(said)
            error = said[:600] if reply.status >= 400 else ""
            usd = float(found[-1]) if found else None
            whole.seen.append(
                Exchange(path, reply.status, frozenset(given), seconds, frozenset(dropped), error, usd)
            )  # fmt: skip

        do_GET = do_POST = do_HEAD = _pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    whole = Tee(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield whole
    finally:
        server.shutdown()
        server.server_close()
