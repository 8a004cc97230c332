"""Decrypt what Temporal keeps, for its page and command line: a remote codec on loopback, which asks for no key.

TANDEM_PAYLOAD_KEYS=FILE .venv/bin/python examples/temporal/codec_server.py [PORT]
"""

from __future__ import annotations

import os
import sys

import uvicorn
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from services.shared.process.temporal import EncryptionCodec
from services.shared.sealing.keys import read_keys
from tandem.method.errors import FailedPrecondition

PAGES = ("http://127.0.0.1:8233", "http://localhost:8233")


def make_app(codec: EncryptionCodec) -> Starlette:
    async def convert(request: Request) -> Response:
        origin = request.headers.get("origin")  # browsers alone send it, also for a name that was made to point here
        if origin not in (None, *PAGES):
            return PlainTextResponse(f"pages of {origin!r} may not ask", 403)
        headers = {"access-control-allow-origin": origin or PAGES[0], "access-control-allow-credentials": "true"}
        if request.method == "OPTIONS":
            named = {"access-control-allow-headers": "authorization, content-type, x-namespace"}
            return Response(headers=headers | named)
        try:
            given = Parse(await request.body(), Payloads()).payloads
            done = await (codec.decode if request.url.path == "/decode" else codec.encode)(given)
        except (ParseError, UnicodeDecodeError, RecursionError, FailedPrecondition) as error:
            return PlainTextResponse(str(error), 400, headers)
        return Response(MessageToJson(Payloads(payloads=done), indent=None), 200, headers, "application/json")

    return Starlette(routes=[Route(path, convert, methods=["POST", "OPTIONS"]) for path in ("/decode", "/encode")])


if __name__ == "__main__":
    keys = read_keys(os.environ["TANDEM_PAYLOAD_KEYS"])
    assert keys, "TANDEM_PAYLOAD_KEYS names no file"
    uvicorn.run(make_app(EncryptionCodec(keys)), host="127.0.0.1", port=int(sys.argv[1]) if sys.argv[1:] else 8234)
