"""What every back end promises of a text that is held to a JSON schema: it follows the schema, or is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest

from services.models.engine.api import FinishReason, InvalidSchema, SchemaNotSupported, Token
from services.models.engine.remote.openai_writer import ApiSettings, OpenAIWriter
from services.models.engine.token_writer import writer_of
from services.models.engine.writer import Earlier, Writing
from tandem.method.tokens import Sampling
from tests.integration.backends import Backend, run, write, writing

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
# With a limit to every part, so that a model that knows no end must come to one.
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["lamp", "chair"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": -9, "maximum": 99}, "maxItems": 3},
    },
    "required": ["name", "kind", "sizes"],
    "additionalProperties": False,
}


def held(work: Writing) -> Writing:
    return replace(work, json_schema=json.dumps(SCHEMA))


async def test_every_text_under_a_schema_follows_it(backend: Backend) -> None:
    if not backend.holds_schemas:
        pytest.skip("it refuses every schema")
    with backend.running() as engine:
        works = [writing(f"held{i}", f"{i}?", 600, Sampling(0.4 * i, 1.0, i)) for i in range(6)]
        free = writing("free", "why?", 24)
        (alone, *_), *done = await asyncio.gather(run(engine, free), *(run(engine, held(work)) for work in works))
        text, *_ = await run(engine, replace(free, id="alone"))
        assert alone == text
    for text, tokens, end in done:
        jsonschema.validate(json.loads(text), SCHEMA)
        assert (end.reason, end.usage.completion) == (FinishReason.EOS, tokens)


async def test_a_text_under_a_schema_may_reach_its_limit(backend: Backend) -> None:
    if not backend.holds_schemas:
        pytest.skip("it refuses every schema")
    with backend.running() as engine:
        _, tokens, end = await run(engine, held(writing("short", "why?", 7)))
        assert (tokens, end.reason) == (7, FinishReason.LENGTH)


async def test_a_text_that_is_begun_goes_on_under_its_schema(backend: Backend) -> None:
    with backend.running() as engine:
        work = held(writing("whole", "why?", 600))
        if not writer_of(engine).can.continues_schema:
            with pytest.raises(SchemaNotSupported):
                await run(engine, replace(work, earlier=Earlier("{", (0,))))
            return
        ids = [item.id async for item in write(engine, work) if isinstance(item, Token)]
        begun = replace(work, id="begun", earlier=Earlier(ids=tuple(ids[:9])))
        rest = [item.id async for item in write(engine, begun) if isinstance(item, Token)]
        json.loads(engine.tokenizer.decode(ids[:9] + rest[:-1]))
        assert rest == ids[9:]
        with pytest.raises(SchemaNotSupported, match="does not follow"):
            await run(engine, replace(begun, earlier=Earlier(ids=tuple(ids[3:9]))))


async def test_a_schema_that_cannot_be_held_is_refused(backend: Backend) -> None:
    with backend.running() as engine:
        work = writing("refused", "why?", 9)
        for schema, words in (("{", "not a JSON object"), ('{"not": {}}', "not")):
            with pytest.raises(InvalidSchema, match=words):
                await run(engine, replace(work, json_schema=schema))
        if not backend.holds_schemas:
            with pytest.raises(SchemaNotSupported, match="ignores the JSON schema"):
                await run(engine, held(work))


@contextmanager
def api(text: str, received: list[Any]) -> Iterator[str]:
    """The address of an API that answers every request with `text`, and appends each request to `received`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("application/json", json.dumps({"data": [{"id": "any", "object": "model"}]}))

        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            choices = [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]
            self._answer("text/event-stream", f"data: {json.dumps({'choices': choices})}\n\ndata: [DONE]\n\n")

        def _answer(self, kind: str, body: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


async def test_an_api_is_asked_for_the_schema_strictly() -> None:
    received: list[Any] = []
    text = '{"name": "x", "kind": "lamp", "sizes": []}'
    with api(text, received) as address:
        engine = OpenAIWriter(ApiSettings("any", address, "no key"))
        engine.start()
        assert (await run(engine, held(writing("r", "why?", 50))))[0] == text
        await run(engine, writing("free", "why?", 50))
        engine.stop()
    schema = {"name": "answer", "schema": SCHEMA, "strict": True}
    assert received[0]["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert "response_format" not in received[1]
