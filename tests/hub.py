"""A real HTTP server on this machine with the parts of a model hub and of a package index that a download needs."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_COMMIT = "0" * 40
_LARGE = 1000


class Hub:
    """`files` by `repository/file`, `wheels` by file name. `cuts`: bytes after which the next downloads lose their
    connection.

    `served`: what is sent in place of a file that is listed. A download of the path `holds` sets `is_held` and waits
    for `go_on`.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.files: dict[str, bytes] = {}
        self.wheels: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.served: dict[str, bytes] = {}
        self.holds = ""
        self.is_held, self.go_on = threading.Event(), threading.Event()
        self.ranges: list[str] = []
        self.requested: list[str] = []
        self._server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._server.server_port}"

    def close(self) -> None:
        """Connections are refused from now on."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def add_wheel(self, name: str, version: str, inside: str, content: bytes) -> None:
        package = name.replace("-", "_")
        information = f"{package}-{version}.dist-info"
        members = {
            f"{package}/{inside}": content,
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        members[f"{information}/RECORD"] = "".join(f"{member},,\n" for member in members).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        self.wheels[f"{package}-{version}-py3-none-any.whl"] = buffer.getvalue()


def _listed(name: str, content: bytes) -> dict[str, Any]:
    """As the hub lists a file: a large one with its sha256, a small one with Git's hash."""
    row: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
    row["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if len(content) >= _LARGE:
        row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return row


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, with_body: bool) -> None:
        if with_body:
            self.hub.requested.append(self.path)
        if self.path == "/":
            self._send(b"", with_body)
        elif found := re.fullmatch(r"/(\w+/\w+)/resolve/[^/]+/(.+)", self.path):
            if with_body and self.path == self.hub.holds:
                self.hub.is_held.set()
                self.hub.go_on.wait(60)
            name = "/".join(found.groups())
            self._file(self.hub.served.get(name, self.hub.files.get(name)), with_body)
        elif found := re.fullmatch(r"/api/models/(\w+/\w+)/revision/\w+", self.path):
            files = self._files(found[1])
            model = {"id": found[1], "sha": _COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self._send(json.dumps(model).encode(), with_body, status=200 if files else 404)
        elif found := re.match(r"/api/models/(\w+/\w+)/tree/\w+", self.path):
            tree = [_listed(name, content) for name, content in self._files(found[1]).items()]
            self._send(json.dumps(tree).encode() if tree else b"", with_body, status=200 if tree else 404)
        elif found := re.fullmatch(r"/simple/([^/]+)/", self.path):
            names = [name for name in self.hub.wheels if name.startswith(found[1].replace("-", "_") + "-")]
            links = "".join(f'<a href="/wheels/{name}#{self._hash(name)}">{name}</a>' for name in names)
            self._send(links.encode(), with_body, status=200 if names else 404, **{"Content-Type": "text/html"})
        elif self.path.startswith("/wheels/"):
            self._send(self.hub.wheels[self.path.removeprefix("/wheels/")], with_body)
        else:
            self._send(b"", with_body, status=404)

    def _files(self, repository: str) -> dict[str, bytes]:
        start = f"{repository}/"
        return {name.removeprefix(start): content for name, content in self.hub.files.items() if name.startswith(start)}

    def _hash(self, wheel: str) -> str:
        return f"sha256={hashlib.sha256(self.hub.wheels[wheel]).hexdigest()}"

    def _file(self, content: bytes | None, with_body: bool) -> None:
        if content is None:
            self._send(b"", with_body, status=404)
            return
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": _COMMIT}
        status, start, end = 200, 0, len(content)
        if wanted := self.headers.get("Range"):
            self.hub.ranges.append(wanted)
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()  # type: ignore[union-attr]
            start, end = int(first), int(last or len(content) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            status = 206
        self._send(content[start:end], with_body, status=status, can_be_cut=with_body, **headers)

    def _send(self, body: bytes, with_body: bool, status: int = 200, can_be_cut: bool = False, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        if can_be_cut and self.hub.cuts:
            self.wfile.write(body[: self.hub.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(body)
